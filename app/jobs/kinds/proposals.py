"""Published weights that a fine-tuning from scratch could start from, and what each way would cost.

Nothing is measured here: seconds are operations at 2e10 a second, about what one core does, 6 of them for every weight
of a network, row and step of a row in training, 2 where frozen features are computed once.
"""

import torch

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.models.assembly import count_parameters
from app.ml.spec import DataSpec, Decision, WarningCode, WarningItem
from app.models.published import BY_SOURCE

MAX_LABELLED_ROWS = 20_000  # with more, a network from scratch learns what rows of this kind have in common
MIN_SIDE = 64  # of an image that may be a photograph
_COLOURS = 3
_OPERATIONS_PER_SECOND = 2e10
_TRAINED, _COMPUTED = 6, 2  # operations for each weight
_MINILM_WEIGHTS, _CHARACTERS_OF_TOKEN, _MINILM_TOKENS = 10_600_000, 4, 256
_LITE_OPERATIONS = 8e8  # of an image of 224 x 224 pixels


def propose_weights(config: ResolvedFineTuning, spec: DataSpec) -> tuple[tuple[Decision, ...], tuple[WarningItem, ...]]:
    """Return the proposal as a decision and a warning; nothing where no published weights suit the rows."""
    rows = max((spec.labelled.get(name, spec.rows).get("train", 0) for name in config.targets), default=0)
    if not config.targets or not rows or rows > MAX_LABELLED_ROWS:
        return (), ()
    source = _suiting(spec)
    if source is None:
        return (), ()
    weights = BY_SOURCE[source]
    what = "texts" if spec.modality == "text" else "images"
    known = "English" if spec.modality == "text" else "photographs"
    size = "" if spec.modality == "text" else ', on a dataset prepared with "image": {"height": 224, "width": 224}'
    message = (
        f"{_without_weights(config, spec, rows, what)} {weights.title} knows {known} already ({weights.licence}); its "
        f"features of these {what} take about {_in_words(_seconds_of_features(spec, rows))} of a core."
    )
    remedy = f'POST /v1/models {{"source": "{source}"}} brings it in; then "model": "{source}" starts from it{size}'
    reason = f"none was named; {weights.title} suits {what}, and is brought in by its name"
    decision = Decision(field="model", value=None, reason=reason, option=f'"model": "{source}"')
    return (decision,), (WarningItem(code=WarningCode.PUBLISHED_WEIGHTS, message=message, remedy=remedy),)


def _suiting(spec: DataSpec) -> str | None:
    """The source whose rows are like these: texts that stand alone, or colour images that may be photographs."""
    if spec.modality == "text":
        return None if spec.continuous else "minilm"
    is_photograph = spec.modality == "image" and spec.shape[2] == _COLOURS and min(spec.shape[:2]) >= MIN_SIDE
    return "efficientnet_lite0" if is_photograph else None


def _without_weights(config: ResolvedFineTuning, spec: DataSpec, rows: int, what: str) -> str:
    """What it means that no model was named."""
    kind = config.backbone.kind
    if not config.backbone.learns:
        return f"No model was named, so that heads learn from what {kind} makes of {rows} labelled {what}."
    cost = _in_words(_seconds_from_scratch(config, spec, rows))
    return f"No model was named: a {kind} from scratch on {rows} labelled {what} takes about {cost} of a core."


def _seconds_from_scratch(config: ResolvedFineTuning, spec: DataSpec, rows: int) -> float:
    """Seconds to train the backbone, each weight being used in each step of a text; a lower bound for images."""
    encoding = config.preprocessing.largest(spec)
    with torch.device("meta"):
        weights = count_parameters(config.backbone.build(encoding))
    steps = min(encoding.shape[0], spec.shape[0]) if spec.modality == "text" else spec.shape[0] * spec.shape[1] / 64
    seen = config.training.total_steps(rows) * min(int(config.training.batch_size), rows)
    return _TRAINED * weights * steps * seen / _OPERATIONS_PER_SECOND


def _seconds_of_features(spec: DataSpec, rows: int) -> float:
    """Seconds to compute the features of published weights once for every row."""
    tokens = min(_MINILM_TOKENS, spec.shape[0] / _CHARACTERS_OF_TOKEN)
    operations = _COMPUTED * _MINILM_WEIGHTS * tokens if spec.modality == "text" else _LITE_OPERATIONS
    return rows * operations / _OPERATIONS_PER_SECOND


def _in_words(seconds: float) -> str:
    if seconds < 90:  # noqa: PLR2004 - a minute and a half
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"  # noqa: PLR2004 - the same of hours
