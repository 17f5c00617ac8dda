"""Which labels may watch a pretraining, and whether another dataset's rows fit."""

from app.ml.errors import ConfigError
from app.ml.spec import DataSpec
from app.ml.supervision_recipe import settle_target
from app.ml.training import TrainingConfig
from app.ml.watching import Watch


def check_watch(choice: Watch | None, training: TrainingConfig, spec: DataSpec, beside: DataSpec | None) -> None:
    """Raises `ConfigError` for a target or a dataset that does not fit."""
    if choice is None:
        return
    if choice.keep == "best" and training.early_stopping is not None:
        msg = "early stopping keeps the weights that are best for the validation loss: choose one of the two"
        raise ConfigError(("watch", "keep"), msg)
    differences = spec_differences(spec, beside) if beside else []
    if differences:
        raise ConfigError(("watch", "dataset"), f"its rows do not fit: {'; '.join(differences[:5])}")
    if choice.target is not None:
        settle_target(beside or spec, choice.target, ("watch", "target"))


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
