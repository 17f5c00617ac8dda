"""What another dataset may do for a training: label an online probe, or join a fine-tuning without labels."""

from app.ml.configs.label_propagation import LabelPropagationConfig
from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.online_probe import OnlineProbeConfig
from app.ml.configs.training import TrainingConfig
from app.ml.errors import ConfigError
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.resolution.targets import learnable_target
from app.ml.spec import DataSpec, Decision

_MAX_SHOWN = 5
_MAX_LABELLED_ROWS = 2000  # with more labels those of other rows add next to nothing, and cost most


def check_online_probe(
    probe: OnlineProbeConfig | None, training: TrainingConfig, spec: DataSpec, auxiliary: DataSpec | None
) -> None:
    """Raise `ConfigError` for a target or an auxiliary dataset that does not fit."""
    if probe is None:
        return
    if probe.keep == "best" and training.early_stopping is not None:
        msg = "early stopping keeps the weights that are best for the validation loss: choose one of the two"
        raise ConfigError(("watch", "keep"), msg)
    _check_rows_fit(spec, auxiliary, "watch")
    if probe.target is not None:
        learnable_target(auxiliary or spec, probe.target, ("watch", "target"))


def resolve_label_propagation(
    config: FineTuningConfig,
    strategy: StrategyConfig,
    heads: tuple[AnyHead, ...],
    spec: DataSpec,
    auxiliary: DataSpec | None,
) -> tuple[LabelPropagationConfig | None, tuple[Decision, ...]]:
    """Check a choice of unlabelled rows; auto are the dataset's own where they may pay, which the trainer finds out.

    Raises `ConfigError` where there are no rows to label, or pseudo-labels have nothing to join.
    """
    choice = config.unlabelled
    if choice == "auto":
        if config.transfer_report is not None:
            return None, ()
        solved = ResolvedLinearProbe(solver="exact", layer="last")  # which automatic may choose
        return default_label_propagation(solved if strategy.selects_strategy else strategy, heads, spec)
    if choice is None:
        return None, ()
    if strategy.solving != "only":
        msg = "pseudo-labels join a linear_probe that is solved for: choose that strategy, or leave this out"
        raise ConfigError(("unlabelled",), msg)
    if not _learns_pseudo_labels(heads):
        raise ConfigError(("unlabelled",), "pseudo-labels are classes: give a lone classifier, or leave this out")
    _check_rows_fit(spec, auxiliary, "unlabelled")
    if _unlabelled_rows(heads, spec, auxiliary) < 1:
        raise ConfigError(("unlabelled", "dataset"), "there are no train rows without a label: name other rows")
    return choice, ()


def default_label_propagation(
    strategy: StrategyConfig, heads: tuple[AnyHead, ...], spec: DataSpec
) -> tuple[LabelPropagationConfig | None, tuple[Decision, ...]]:
    """Return how a dataset's own rows without a label join, where they may pay, which the trainer finds out."""
    if strategy.solving != "only" or not _learns_pseudo_labels(heads):
        return None, ()
    labelled, rows = _labelled_rows(heads, spec), _unlabelled_rows(heads, spec, None)
    if not 1 <= labelled <= min(rows, _MAX_LABELLED_ROWS):
        return None, ()
    default = LabelPropagationConfig.model_validate({"use": "if_better"})
    reason = f"{rows} train rows have no label: they join where cross-validation on the {labelled} labels says so"
    return default, (Decision(field="unlabelled", value=default.model_dump(mode="json"), reason=reason),)


def _learns_pseudo_labels(heads: tuple[AnyHead, ...]) -> bool:
    return len(heads) == 1 and heads[0].learns_soft_labels and not heads[0].needs_fixed_features


def _labelled_rows(heads: tuple[AnyHead, ...], spec: DataSpec) -> int:
    return spec.labelled.get(heads[0].targets[0], spec.rows).get("train", 0)


def _unlabelled_rows(heads: tuple[AnyHead, ...], spec: DataSpec, auxiliary: DataSpec | None) -> int:
    """Train rows of the other dataset, or else those of this one that have no label."""
    return (auxiliary or spec).rows.get("train", 0) - (0 if auxiliary else _labelled_rows(heads, spec))


def _check_rows_fit(spec: DataSpec, auxiliary: DataSpec | None, field: str) -> None:
    differences = spec_differences(spec, auxiliary) if auxiliary else []
    if differences:
        raise ConfigError((field, "dataset"), f"its rows do not fit: {'; '.join(differences[:_MAX_SHOWN])}")


def spec_differences(spec: DataSpec, other: DataSpec) -> list[str]:
    """Return in words how the rows of `other` differ from those of `spec`; empty where they fit."""
    if other.modality != spec.modality:
        return [f"it is of modality {other.modality} and not {spec.modality}"]
    if spec.modality == "image" and other.shape != spec.shape:
        return [f"its images are {_words(other.shape)} and not {_words(spec.shape)}"]
    expected = {column.name: column.type for column in spec.columns}
    actual = {column.name: column.type for column in other.columns}
    differences = [f"it lacks column {name!r}" for name in expected if name not in actual]
    differences += [f"it has another column {name!r}" for name in actual if name not in expected]
    differences += [
        f"its column {name!r} is a {actual[name]} and not a {kind}"
        for name, kind in expected.items()
        if actual.get(name, kind) != kind
    ]
    return differences


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
