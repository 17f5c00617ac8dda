"""Target values that lie so far from the others that they rule what is learned."""

from app.ml.data.arrays import Examples
from app.ml.models.assembly import FineTuning, stacked
from app.ml.spec import WarningCode, WarningItem


def warn_of_far_targets(objective: FineTuning, examples: Examples) -> list[WarningItem]:
    """Return a warning for each target of numbers of which a few train rows are that far out."""
    return [
        _warning(name, count, len(examples), robust=config.robust)
        for config, head in zip(objective.configs, objective.each_head(), strict=True)
        if config.needs_labels
        for name, count in head.far_targets(stacked(config, examples.targets)).items()
        if count
    ]


def _warning(target: str, count: int, rows: int, *, robust: bool) -> WarningItem:
    so = "targets are scaled by the median and the quartiles" if robust else "these few outweigh all others"
    message = f"{count} of {rows} values of target {target!r} lie over 100 usual deviations from the median: {so}."
    remedy = 'the cleaning step `{"kind": "outliers", "action": "remove"}`'
    also = "" if robust else '; or a regressor with `"loss": "huber"`'
    return WarningItem(code=WarningCode.FAR_TARGETS, message=message, count=count, remedy=f"{remedy}{also}.")
