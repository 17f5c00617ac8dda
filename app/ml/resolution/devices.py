"""Which trainings give the same on several devices as on one: those whose loss is a mean over rows, each taken alone.

Every device computes the loss of its share of a batch. The weighted mean of those is the loss of the whole batch only
where nothing that happens to a row depends on the other rows. The kinds say whether that holds for them.
"""

from collections.abc import Iterable

from app.ml.configs.resolved import ResolvedFineTuning, ResolvedPretraining
from app.ml.errors import ConfigError
from app.ml.interfaces import AugmentationConfig, BackboneConfig


def check_splittable(config: ResolvedPretraining | ResolvedFineTuning, devices: int) -> None:
    """Refuse what would be another training on several devices. Raises `ConfigError`."""
    if devices == 1:
        return
    of_kind = _of_pretraining(config) if isinstance(config, ResolvedPretraining) else _of_fine_tuning(config)
    reason = _of_backbone(config.backbone) or of_kind or _of_augmentations(config.augmentations)
    if reason is not None:
        raise ConfigError(("resources", "devices"), f"{reason}: leave devices at 1")


def _of_backbone(backbone: BackboneConfig) -> str | None:
    if not backbone.mixes_rows:
        return None
    return f"the backbone {backbone.kind} normalises over the whole batch, which no device sees"


def _of_augmentations(augmentations: Iterable[AugmentationConfig]) -> str | None:
    mixing = next((augmentation.kind for augmentation in augmentations if augmentation.mixes_rows), None)
    return f"{mixing} mixes the rows of a batch, which no device sees whole" if mixing else None


def _of_pretraining(config: ResolvedPretraining) -> str | None:
    if config.method.batch_dependence is not None:
        return config.method.batch_dependence
    return None if config.labels is None else "labels are known of some rows alone, and devices may get unequal shares"


def _of_fine_tuning(config: ResolvedFineTuning) -> str | None:
    strategy = config.strategy
    if strategy.caches_features or strategy.solving != "never":
        return "this strategy trains on cached features or solves for its heads; name full, layerwise_decay or lora"
    if len(config.heads) > 1:
        return "several heads may lack labels in different rows, so that devices would get unequal shares"
    return config.heads[0].batch_dependence
