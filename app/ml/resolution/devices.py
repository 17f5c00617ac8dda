"""Which trainings give the same on several devices as on one: those whose loss is a mean over rows."""

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.errors import ConfigError
from app.ml.kinds.methods.autoencoder import Autoencoder
from app.ml.kinds.methods.denoising_autoencoder import DenoisingAutoencoder
from app.ml.kinds.methods.masked_autoencoder import MaskedAutoencoder
from app.ml.kinds.methods.variational_autoencoder import VariationalAutoencoder


def check_splittable(config: PretrainingConfig | FineTuningConfig, devices: int) -> None:
    """Refuse what would be another training on several devices. Raises `ConfigError`."""
    if devices == 1:
        return
    reason = _batch_wise(config.backbone) or (
        _of_pretraining(config) if isinstance(config, PretrainingConfig) else _of_fine_tuning(config)
    )
    if reason is not None:
        raise ConfigError(("resources", "devices"), f"{reason}: leave devices at 1")


def _batch_wise(backbone: object) -> str | None:
    kind = getattr(backbone, "kind", "")
    if kind == "efficientnet_lite0" or getattr(backbone, "norm", None) == "batch":
        return f"the backbone {kind} normalises over the whole batch, which no device sees"
    return None


def _of_pretraining(config: PretrainingConfig) -> str | None:
    method = config.method
    if isinstance(method, VariationalAutoencoder) and method.free_bits > 0:
        return "free_bits look at how much a latent dimension tells over the whole batch"
    if not isinstance(method, Autoencoder | DenoisingAutoencoder | MaskedAutoencoder | VariationalAutoencoder):
        kind = getattr(method, "kind", method)
        return f"the loss of {kind} is not known to be a mean over rows, as that of an autoencoder is"
    if isinstance(method, Autoencoder) and method.regularizer.kind == "sparse":
        return "a sparse autoencoder looks at how active a feature is over the whole batch"
    return None if config.labels is None else "labels are known of some rows alone, and devices may get unequal shares"


def _of_fine_tuning(config: FineTuningConfig) -> str | None:
    strategy = config.strategy
    if isinstance(strategy, str) or strategy.caches_features or strategy.solving != "never":
        return "this strategy trains on cached features or solves for its heads; name full, layerwise_decay or lora"
    if len(config.heads) > 1:
        return "several heads may lack labels in different rows, so that devices would get unequal shares"
    head = config.heads[0]
    if head.kind not in ("classifier", "regressor") or getattr(head, "class_weights", "none") != "none":
        return f"the loss of this {head.kind} is not a plain mean over rows"
    if isinstance(getattr(head, "target", ""), tuple | list):
        return "several numbers may be missing in different rows, so that devices would get unequal shares"
    return None
