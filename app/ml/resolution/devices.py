"""Which trainings several devices cannot share: the kinds say so, with their reasons."""

from app.ml.configs.resolved import ResolvedFineTuning, ResolvedPretraining
from app.ml.errors import ConfigError


def check_splittable(config: ResolvedPretraining | ResolvedFineTuning, devices: int) -> None:
    """Refuse what takes no steps that several devices could share. Raises `ConfigError`."""
    if devices == 1 or isinstance(config, ResolvedPretraining):
        return
    reason = config.strategy.one_device
    if reason is not None:
        raise ConfigError(("resources", "devices"), f"{reason}: leave devices at 1")
