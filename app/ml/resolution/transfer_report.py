"""From the request of a transfer report to its resolved config."""

from dataclasses import replace

from app.ml.configs.label_propagation import LabelPropagationConfig
from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.transfer_report import ResolvedTransferReport, TransferReport
from app.ml.errors import ConfigError, Location
from app.ml.interfaces import Decisions
from app.ml.interfaces.resolvable import filled
from app.ml.kinds.heads import AnyHead
from app.ml.models.bundle import Manifest
from app.ml.resolution.training import Purpose, resolve_training
from app.ml.spec import SPLITS, Split

_PLACE: Location = ("transfer_report",)
_MIN_ROWS = 10  # of a split that answers are compared on
_MANY = 300  # then a split is preferred to folds, which take so many times as long


def resolve_report(
    config: FineTuningConfig, parent: Manifest | None, purpose: Purpose, heads: tuple[AnyHead, ...]
) -> tuple[ResolvedTransferReport | None, Decisions]:
    """Resolve what is compared on, and the training from scratch. Raises `ConfigError` where it could show nothing."""
    report = config.transfer_report
    if report is None:
        return None, ()
    if parent is None:
        raise ConfigError(_PLACE, "nothing was transferred: name a pretrained model, or leave this out")
    if isinstance(config.unlabelled, LabelPropagationConfig):
        msg = "rows without labels would be labelled by what is compared: leave unlabelled out, or this"
        raise ConfigError(_PLACE, msg)
    for index, head in enumerate(heads):
        if not head.needs_labels:
            msg = f"heads.{index}: a {head.kind} learns from rows without labels, and the report compares by labels"
            raise ConfigError(_PLACE, msg)
        if head.needs_fixed_features:
            msg = f"heads.{index}: an estimator cannot be trained together with a backbone from scratch, as it compares"
            raise ConfigError(_PLACE, msg)
    measured_on, reason = _measured_on(report, purpose)
    scratch = config.training if report.scratch == "auto" else report.scratch
    if measured_on != "test":  # nothing may stop early by the rows that it is compared on
        scratch = scratch.model_copy(update={"early_stopping": None})
    training, _ = resolve_training(scratch, replace(purpose, kind="from_scratch"))
    known = report.model_copy(update={"scratch": training})
    return filled(known, ResolvedTransferReport, {"measured_on": (measured_on, reason)}, "transfer_report.")


def _measured_on(report: TransferReport, purpose: Purpose) -> tuple[str, str]:
    """What answers are compared on, and why. Raises `ConfigError` where there are too few rows."""
    counts: dict[str, int] = {split: _labelled(purpose, split) for split in SPLITS}
    measured_on: str = report.measured_on
    if measured_on == "auto":
        split = "test" if counts["test"] else "validation"
        measured_on = split if counts[split] >= min(_MANY, max(_MIN_ROWS, counts["train"])) else "folds"
    split, least = ("train", 2 * report.folds) if measured_on == "folds" else (measured_on, _MIN_ROWS)
    rows = f"{counts[split]} {split} rows carry a target"
    if counts[split] < least:
        msg = f"{rows}, and {measured_on} needs {least}: label more, or leave this out"
        raise ConfigError((*_PLACE, "measured_on"), msg)
    return measured_on, rows


def _labelled(purpose: Purpose, split: Split) -> int:
    spec = purpose.spec
    return min(spec.labelled.get(name, spec.rows).get(split, 0) for name in purpose.targets)
