"""What another dataset may do for a training: watch it, or join it without labels."""

from app.ml.configs.label_propagation import LabelPropagationConfig
from app.ml.configs.online_probe import OnlineProbeConfig
from app.ml.configs.training import TrainingConfig
from app.ml.data.spec import DataSpec
from app.ml.errors import ConfigError
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.strategies import AnyStrategy
from app.ml.resolution.supervision import resolve_target


def check_watch(
    choice: OnlineProbeConfig | None, training: TrainingConfig, spec: DataSpec, auxiliary: DataSpec | None
) -> None:
    """Raises `ConfigError` for a target or a dataset that does not fit."""
    if choice is None:
        return
    if choice.keep == "best" and training.early_stopping is not None:
        msg = "early stopping keeps the weights that are best for the validation loss: choose one of the two"
        raise ConfigError(("watch", "keep"), msg)
    differences = spec_differences(spec, auxiliary) if auxiliary else []
    if differences:
        raise ConfigError(("watch", "dataset"), f"its rows do not fit: {'; '.join(differences[:5])}")
    if choice.target is not None:
        resolve_target(auxiliary or spec, choice.target, ("watch", "target"))


def check_unlabelled(
    choice: LabelPropagationConfig | None,
    strategy: AnyStrategy,
    heads: tuple[AnyHead, ...],
    spec: DataSpec,
    auxiliary: DataSpec | None,
) -> None:
    """Raises `ConfigError` where pseudo-labels have nothing to join, or no rows."""
    if choice is None:
        return
    if strategy.solving != "only":
        msg = "pseudo-labels join a linear_probe that is solved for: choose that strategy, or leave this out"
        raise ConfigError(("unlabelled",), msg)
    if len(heads) != 1 or not heads[0].learns_soft_labels:
        raise ConfigError(("unlabelled",), "pseudo-labels are classes: give a lone classifier, or leave this out")
    differences = spec_differences(spec, auxiliary) if auxiliary else []
    if differences:
        raise ConfigError(("unlabelled", "dataset"), f"its rows do not fit: {'; '.join(differences[:5])}")
    rows = spec.rows.get("train", 0) - spec.labelled.get(heads[0].targets[0], spec.rows).get("train", 0)
    if (auxiliary.rows.get("train", 0) if auxiliary else rows) < 1:
        raise ConfigError(("unlabelled", "dataset"), "there are no train rows without a label: name other rows")


def spec_differences(mine: DataSpec, theirs: DataSpec) -> list[str]:
    """In words, how another dataset's rows differ, as far as descriptions tell; empty where they fit."""
    if theirs.modality != mine.modality:
        return [f"it is of modality {theirs.modality} and not {mine.modality}"]
    if mine.modality == "image" and theirs.shape != mine.shape:
        return [f"its images are {_words(theirs.shape)} and not {_words(mine.shape)}"]
    wanted = {column.name: column.type for column in mine.columns}
    found = {column.name: column.type for column in theirs.columns}
    differences = [f"it lacks column {name!r}" for name in wanted if name not in found]
    differences += [f"it has another column {name!r}" for name in found if name not in wanted]
    differences += [
        f"its column {name!r} is a {found[name]} and not a {kind}"
        for name, kind in wanted.items()
        if found.get(name, kind) != kind
    ]
    return differences


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
