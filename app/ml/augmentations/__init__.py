"""Augmentations: random changes of training rows. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.augmentations.blur import Blur
from app.ml.augmentations.colour import Colour
from app.ml.augmentations.crop import Crop
from app.ml.augmentations.cutmix import CutMix
from app.ml.augmentations.drop import Drop
from app.ml.augmentations.erase import Erase
from app.ml.augmentations.flip import Flip
from app.ml.augmentations.gap import Gap
from app.ml.augmentations.mask import Mask
from app.ml.augmentations.mixup import Mixup
from app.ml.augmentations.noise import Noise
from app.ml.augmentations.rotate import Rotate
from app.ml.augmentations.scale import Scale
from app.ml.augmentations.shift import Shift
from app.ml.augmentations.swap import Swap
from app.ml.augmentations.warp import Warp
from app.ml.augmentations.window import Window

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
