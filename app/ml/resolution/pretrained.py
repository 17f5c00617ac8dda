"""Which preprocessing and backbone a fine-tuning takes from its pretrained model, and what is loaded of the weights."""

import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.spec import DataSpec
from app.ml.errors import ConfigError
from app.ml.interfaces import Decision, Encoding
from app.ml.kinds.backbones import AnyBackbone
from app.ml.models import partial_loading
from app.ml.models.bundle import Manifest

Decisions = tuple[Decision, ...]


def inherits_preprocessing(config: PretrainingConfig | FineTuningConfig, spec: DataSpec, parent: Manifest) -> bool:
    """Whether rows are encoded as for the pretrained model: always, but where loading in part another is wanted."""
    if isinstance(config, PretrainingConfig) or config.loading == "strict":
        return True
    wanted = config.preprocessing in ("auto", parent.preprocessing)
    return wanted and parent.modality.kind == spec.modality and not parent.modality.differences(spec)


def planned_loading(
    config: FineTuningConfig, backbone: AnyBackbone, encoding: Encoding, parent: Manifest | None
) -> Decisions:
    """What is loaded in part, as far as shapes tell. Raises `ConfigError` where nothing fits."""
    if config.loading == "strict":
        return ()
    if parent is None:
        raise ConfigError(("loading",), "partial loading needs a pretrained model: name one, or leave this out")
    with torch.device("meta"):
        found = partial_loading.shapes_of(parent.backbone.build(parent.encoding).state_dict())
        wanted = partial_loading.shapes_of(backbone.build(encoding).state_dict())
    done = partial_loading.plan(found, parent.encoding, wanted, encoding)
    return (Decision(field="loading", value="partial", reason=done.words),)
