"""Default augmentations of the methods that compare views: light ones, which keep a row's meaning."""

from app.ml.interfaces import AugmentationConfig, ResolutionContext
from app.ml.interfaces.values import TrainingDefaults
from app.ml.kinds.augmentations.colour import Colour
from app.ml.kinds.augmentations.crop import Crop
from app.ml.kinds.augmentations.flip import Flip
from app.ml.kinds.augmentations.gap import Gap
from app.ml.kinds.augmentations.noise import Noise
from app.ml.kinds.augmentations.scale import Scale
from app.ml.kinds.augmentations.shift import Shift
from app.ml.kinds.augmentations.swap import Swap
from app.ml.kinds.augmentations.warp import Warp

_COLOURED = 3
# Without strong changes of brightness two views are recognised by it: two points of accuracy on Fashion-MNIST.
_COLOURS = Colour(brightness=0.8, contrast=0.8)
TRAINING_DEFAULTS = TrainingDefaults(
    lr=2e-3,
    batches=16,
    steps=3000,
    min_epochs=10,
    max_epochs=300,
    weight_decay=1e-4,
    warmup=0.03,
    precision="native",
)


def default_views(context: ResolutionContext) -> tuple[AugmentationConfig, ...]:
    """Return the defaults per modality. Only coloured images are mirrored: grey ones may be letters."""
    match context.modality:
        case "image":
            coloured = context.shape[2] >= _COLOURED
            return (Crop(smallest=0.3), *((Flip(),) if coloured else ()), _COLOURS, Noise())
        case "series":
            return (Shift(share=0.3), Warp(), Scale(), Noise(), Gap())
        case "table":
            return (Swap(),)
        case _:
            return ()
