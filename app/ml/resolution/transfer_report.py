"""Which fine-tunings a transfer report can be asked for, and how its network from scratch is trained."""

from dataclasses import replace

from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.training import TrainingConfig
from app.ml.configs.transfer_report import TransferReport
from app.ml.data.spec import SPLITS, Split
from app.ml.errors import ConfigError, Location
from app.ml.interfaces import Decision
from app.ml.kinds.heads import AnyHead
from app.ml.models.bundle import Manifest
from app.ml.resolution.training import Purpose, resolve_training

_PLACE: Location = ("transfer_report",)
_MIN_ROWS = 10  # of a split that answers are compared on
_MANY = 300  # then a split is preferred to folds, which take so many times as long


def resolve_report(
    config: FineTuningConfig, parent: Manifest | None, purpose: Purpose, heads: tuple[AnyHead, ...]
) -> tuple[TransferReport | None, tuple[Decision, ...]]:
    """The report without any "auto", and what was decided. Raises `ConfigError` where it can tell nothing."""
    report = config.transfer_report
    if report is None:
        return None, ()
    if parent is None:
        raise ConfigError(_PLACE, "nothing was transferred: name a pretrained model, or leave this out")
    if config.unlabelled is not None:
        msg = "rows without labels would be labelled by what is compared: leave unlabelled out, or this"
        raise ConfigError(_PLACE, msg)
    for index, head in enumerate(heads):
        if not head.needs_labels:
            msg = f"heads.{index}: a {head.kind} learns from rows without labels, and the report compares by labels"
            raise ConfigError(_PLACE, msg)
    measured_on, reason = _measured_on(report, purpose)
    scratch, _ = resolve_training(_for_scratch(config, report, measured_on), replace(purpose, kind="from_scratch"))
    decided = (Decision(field="transfer_report.measured_on", value=measured_on, reason=reason),)
    resolved = report.model_copy(update={"measured_on": measured_on, "scratch": scratch})
    return resolved, decided if report.measured_on == "auto" else ()


def _for_scratch(config: FineTuningConfig, report: TransferReport, measured_on: str) -> TrainingConfig:
    """What is not resolved yet; nothing may stop early by the rows that it is compared on."""
    training = config.training if isinstance(report.scratch, str) else report.scratch
    return training if measured_on == "test" else training.model_copy(update={"early_stopping": None})


def _measured_on(report: TransferReport, purpose: Purpose) -> tuple[str, str]:
    """What answers are compared on, and why. Raises `ConfigError` where there is too little."""
    counts = {split: _labelled(purpose, split) for split in SPLITS}
    wanted: str = report.measured_on
    if wanted == "auto":
        split: Split = "test" if counts["test"] else "validation"
        wanted = split if counts[split] >= min(_MANY, max(_MIN_ROWS, counts["train"])) else "folds"
    part, fewest = ("train", 2 * report.folds) if wanted == "folds" else (wanted, _MIN_ROWS)
    found = counts[part]  # type: ignore[index]
    if found < fewest:
        msg = f"{found} {part} rows carry a target, and {wanted} needs {fewest}: label more, or leave this out"
        raise ConfigError((*_PLACE, "measured_on"), msg)
    return wanted, f"{found} {part} rows carry a target"


def _labelled(purpose: Purpose, split: Split) -> int:
    spec = purpose.spec
    return min(spec.labelled.get(name, spec.rows).get(split, 0) for name in purpose.targets)
