"""Augmentations: random changes of training rows. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.kinds.augmentations.blur import Blur
from app.ml.kinds.augmentations.colour import Colour
from app.ml.kinds.augmentations.crop import Crop
from app.ml.kinds.augmentations.cutmix import CutMix
from app.ml.kinds.augmentations.drop import Drop
from app.ml.kinds.augmentations.erase import Erase
from app.ml.kinds.augmentations.flip import Flip
from app.ml.kinds.augmentations.gap import Gap
from app.ml.kinds.augmentations.mask import Mask
from app.ml.kinds.augmentations.mixup import Mixup
from app.ml.kinds.augmentations.noise import Noise
from app.ml.kinds.augmentations.rotate import Rotate
from app.ml.kinds.augmentations.scale import Scale
from app.ml.kinds.augmentations.shift import Shift
from app.ml.kinds.augmentations.swap import Swap
from app.ml.kinds.augmentations.warp import Warp
from app.ml.kinds.augmentations.window import Window

AnyAugmentation = Annotated[
    Noise
    | Crop
    | Shift
    | Flip
    | Rotate
    | Colour
    | Blur
    | Erase
    | Mixup
    | CutMix
    | Swap
    | Mask
    | Drop
    | Scale
    | Warp
    | Window
    | Gap,
    Field(discriminator="kind"),
]  # fmt: skip
