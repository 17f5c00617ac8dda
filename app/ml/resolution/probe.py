"""The linear probe that backbones are compared by: its one head suits the target."""

from typing import Literal

from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.errors import ConfigError
from app.ml.kinds.backbones import AnyBackbone
from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.regressor import Regressor
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.models.bundle import Manifest
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.targets import no_such_target
from app.ml.spec import DataSpec

MIN_ROWS = 20


def resolve_probe(
    spec: DataSpec, target: str, parent: Manifest | None = None, backbone: AnyBackbone | Literal["auto"] = "auto"
) -> ResolvedFineTuning:
    """Return a linear probe of one target as a resolved fine-tuning.

    Raises `ConfigError` naming `target` or `model`.
    """
    target_spec = spec.target(target)
    if target_spec is None:
        raise ConfigError(("target",), no_such_target(spec, target))
    labelled = spec.labelled.get(target, spec.rows).get("train", 0)
    if labelled < MIN_ROWS:
        msg = f"{labelled} train rows carry target {target!r}, and a comparison needs {MIN_ROWS}: label more"
        raise ConfigError(("target",), msg)
    head = Classifier(target=target) if target_spec.type == "category" else Regressor(target=target)
    probe = LinearProbe(budget_seconds=10.0)
    config = FineTuningConfig(heads=(head,), inherited_heads=(), strategy=probe, backbone=backbone)
    try:
        return resolve_fine_tuning(config, spec, parent).config
    except ConfigError as error:
        raise error if error.loc[0] != "heads" else ConfigError(("target",), error.msg) from error
