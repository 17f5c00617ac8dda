"""The views that contrasting methods take where a user names none: light ones, that leave a row's meaning alone."""

from app.ml.augmentations.blur import Blur
from app.ml.augmentations.colour import Colour
from app.ml.augmentations.crop import Crop
from app.ml.augmentations.erase import Erase
from app.ml.augmentations.flip import Flip
from app.ml.augmentations.gap import Gap
from app.ml.augmentations.noise import Noise
from app.ml.augmentations.scale import Scale
from app.ml.augmentations.shift import Shift
from app.ml.augmentations.swap import Swap
from app.ml.augmentations.warp import Warp
from app.ml.interfaces import AugmentationConfig, Facts

_COLOURED = 3


def usual_views(facts: Facts) -> tuple[AugmentationConfig, ...]:
    """For photographs as SimCLR's own; grey images are never mirrored, since they may be letters."""
    match facts.modality:
        case "image":
            coloured = facts.shape[2] >= _COLOURED
            return (Crop(), Flip(), Colour(), Blur()) if coloured else (Crop(), Erase(), Noise())
        case "series":
            return (Shift(), Warp(), Scale(), Noise(), Gap())
        case "table":
            return (Swap(),)
        case _:
            return ()
