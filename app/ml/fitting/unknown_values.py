"""What of a fine-tuning's rows its pretrained model does not know: categories, characters and words it has never seen.

Such values are encoded as "unknown", all alike, so that nothing can be learned from what tells them apart.
"""

from app.ml.data.arrays import ArrayData, Subset
from app.ml.errors import ConfigError
from app.ml.interfaces import Modality
from app.ml.interfaces.modality import UnknownValues
from app.ml.spec import WarningCode, WarningItem

NEARLY_ALL = 0.9
_MIN_SHARE = 0.01  # of a text's tokens: a rare sign is nothing to worry about
_MAX_EXAMPLES = 5
_REMEDY = '`"model": null` trains from scratch; or pretrain on rows like these.'


def check_unknown_values(modality: Modality, data: ArrayData) -> tuple[WarningItem, ...]:
    """Return a warning for each column, or for the texts, with values that the model does not know.

    Raises:
        ConfigError: it knows hardly any.
    """
    unknown = modality.unknown_values(Subset(data.inputs, data.positions("train")), data.spec)
    shares = len(unknown) / max(1, len(data.spec.columns))  # how many of the columns can have unknown values
    count, total = sum(values.count for values in unknown), sum(values.total for values in unknown)
    if total and count / total >= NEARLY_ALL and (modality.counts_tokens or shares >= 1 / 2):
        examples = [example for values in unknown for example in values.examples]
        msg = (
            f"it knows hardly anything of these rows: {count} of {total} {_what(modality)} are unknown to it, such as "
            f"{_shown(examples)}. Name a model that was pretrained on such rows, or null to train from scratch"
        )
        raise ConfigError(("model",), msg)
    return tuple(_warning(modality, values) for values in unknown if _is_doubtful(modality, values))


def _is_doubtful(modality: Modality, values: UnknownValues) -> bool:
    return values.count > (_MIN_SHARE * values.total if modality.counts_tokens else 0)


def _warning(modality: Modality, values: UnknownValues) -> WarningItem:
    where = f" of column {values.column!r}" if values.column is not None else ""
    message = (
        f"{values.count} of {values.total} {_what(modality)}{where} are unknown to the pretrained model, such as "
        f"{_shown(values.examples)}: to it they are all alike."
    )
    return WarningItem(code=WarningCode.UNKNOWN_TO_MODEL, message=message, count=values.count, remedy=_REMEDY)


def _what(modality: Modality) -> str:
    return "letters and words" if modality.counts_tokens else "values"


def _shown(examples: "tuple[str, ...] | list[str]") -> str:
    return ", ".join(repr(example[:40]) for example in examples[:_MAX_EXAMPLES])
