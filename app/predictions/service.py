"""Predictions, embeddings and generations of loaded models; references are resolved from memory."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from app.dependencies import Services
from app.errors import BadRequestError, ConflictError, ErrorItem, UnprocessableError
from app.ml.configs.generation import Continuations, GenerationConfig, Piece
from app.ml.errors import InputError, Location
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.head_answers import (
    MAX_DIGITS,
    PROBABILITY_DIGITS,
    AnswerOptions,
    Answers,
    feature_rows,
    rounded,
)
from app.ml.spec import WarningItem
from app.predictions.answers import ArrayItems, Chunk, JsonItems, Reserve, json_pieces
from app.predictions.bodies.lazy_rows import LazyRows
from app.predictions.copies import KeptAnswers
from app.predictions.deadlines import check_deadline, remaining
from app.predictions.formats import ArrayAnswer
from app.predictions.heads import chosen_heads, only_head
from app.predictions.resolution import ResolvedModel, load, predicting, resolve
from app.predictions.schemas import Generation, Generations, ModelName, PredictionOptions, Prompts, Unknown
from app.serving.engine import LoadedModel, Rows

MAX_ERRORS = 20
_GENERATION_SECONDS = 20.0  # after which continuations end as they are
_SLICE_SECONDS = 0.02  # for which a generation keeps its turn, or as long as a token takes

Value = TypeVar("Value")


def predict(
    state: Services,
    project_id: str,
    ref: "str | ResolvedModel",
    inputs: Sequence[Any] | Rows,
    options: PredictionOptions,
    reserve: Reserve,
    *,
    routing_key: str | None = None,
) -> list[Chunk]:
    """Return the prediction of every head, or of those that are asked for, for every input, as JSON in pieces.

    Where the reference is an alias of several versions, requests of one `routing_key` are answered by the same.

    Raises:
        ConflictError: the model has no heads.
        UnprocessableError: some inputs cannot be read, or hold what training did not see and `unknown` refuses that;
            there is no such head.
        TooLargeError, UnavailableError: `reserve` has no memory for the answer.
    """
    model = predicting(state, project_id, ref, routing_key)
    predictor = load(state, model).model
    keys = chosen_heads(predictor.heads, options.heads)
    doubts, items = Doubts(), JsonItems(len(inputs), reserve)
    kept = KeptAnswers(model, inputs, keys, options.shown)
    for rows in in_turns(state, project_id, predictor, inputs, doubts, options.unknown):
        answers = predictor.predict(rows, keys, options.shown)
        kept.add(rows, answers)
        items.add(answers)
    kept.offer(state)
    return json_pieces(model.name, "predictions", items, counted(state, doubts.warnings()))


def predicted_blocks(
    state: Services,
    project_id: str,
    model: ResolvedModel,
    inputs: Sequence[Any] | Rows,
    unknown: Unknown,
    warnings: list[WarningItem],
) -> Iterator[list[dict[str, Any]]]:
    """Yield the exact predictions of all heads block by block, and add what is doubtful to the warnings.

    Raises:
        ConflictError, UnprocessableError: as of `predict`.
    """
    predictor = load(state, predicting(state, project_id, model)).model
    doubts, options = Doubts(), AnswerOptions(digits=MAX_DIGITS)
    kept = KeptAnswers(model, inputs, None, options)
    for rows in in_turns(state, project_id, predictor, inputs, doubts, unknown):
        answers = predictor.predict(rows, None, options)
        kept.add(rows, answers)
        yield answers
    kept.offer(state)
    warnings += counted(state, doubts.warnings())


def predict_array(
    state: Services,
    project_id: str,
    ref: str,
    inputs: Sequence[Any] | Rows,
    options: PredictionOptions,
    reserve: Reserve,
    *,
    routing_key: str | None = None,
) -> ArrayAnswer:
    """Return the predictions of one head as an array: (N, K) of probabilities or several numbers, else (N,).

    Raises:
        ConflictError, UnprocessableError, TooLargeError, UnavailableError: as of `predict`; or there are several heads,
            and none is chosen.
    """
    model = predicting(state, project_id, ref, routing_key)
    predictor = load(state, model).model
    head = only_head(predictor.heads, options.heads)
    doubts, items = Doubts(), ArrayItems(len(inputs), reserve)
    last: Answers | None = None
    for rows in in_turns(state, project_id, predictor, inputs, doubts, options.unknown):
        for last in predictor.answers(rows, head):
            items.add(last.array)
    assert last is not None  # a request has an input
    return ArrayAnswer(model.name, items.array, counted(state, doubts.warnings()), head, last.names, last.omitted)


def embed(
    state: Services,
    project_id: str,
    ref: "str | ResolvedModel",
    inputs: Sequence[Any] | Rows,
    unknown: Unknown,
    reserve: Reserve,
    digits: int | None = None,
    *,
    routing_key: str | None = None,
) -> list[Chunk]:
    """Return the embedding of every input as JSON in pieces; raises as `embed_array`."""
    model = resolve(state, project_id, ref, routing_key)
    items, warnings = JsonItems(len(inputs), reserve), list[WarningItem]()
    for features in embedded_blocks(state, project_id, model, inputs, unknown, warnings):
        items.add(feature_rows(features, digits))
    return json_pieces(model.name, "embeddings", items, warnings)


def embed_array(
    state: Services,
    project_id: str,
    ref: "str | ResolvedModel",
    inputs: Sequence[Any] | Rows,
    unknown: Unknown,
    reserve: Reserve,
    *,
    routing_key: str | None = None,
) -> ArrayAnswer:
    """Return the embeddings of all inputs, float32 (N, D).

    Raises:
        UnprocessableError, TooLargeError, UnavailableError: as of `predict`; or inputs are so large that their features
            are not finite.
    """
    model = resolve(state, project_id, ref, routing_key)
    items, warnings = ArrayItems(len(inputs), reserve), list[WarningItem]()
    for features in embedded_blocks(state, project_id, model, inputs, unknown, warnings):
        items.add(features)
    return ArrayAnswer(model.name, items.array, warnings)


def embedded_blocks(
    state: Services,
    project_id: str,
    model: ResolvedModel,
    inputs: Sequence[Any] | Rows,
    unknown: Unknown,
    warnings: list[WarningItem],
) -> Iterator[Rows]:
    """Yield the features of inputs block by block, and add to the warnings what is doubtful; raises as `embed`."""
    predictor, doubts = load(state, model).model, Doubts()
    for rows in in_turns(state, project_id, predictor, inputs, doubts, unknown):
        features = predictor.embed(rows)
        overflown = doubts.first + np.flatnonzero(~np.isfinite(features).all(axis=1))[:MAX_ERRORS]
        if len(overflown):
            raise _unprocessable([((int(row),), "its values are too large for this model") for row in overflown])
        yield features
    warnings += counted(state, doubts.warnings())


@dataclass(frozen=True)
class Generating:
    """A generation that has begun: nothing is wrong with its request. `steps` return its answer."""

    model: ModelName
    prompt_tokens: list[int]
    steps: Generator[list[Piece], None, Generations]


def finish(generating: Generating, has_hung_up: Callable[[], bool]) -> Generations:
    """Compute a generation to its end. Raises BadRequestError as soon as the client has hung up."""
    while True:
        try:
            next(generating.steps)
        except StopIteration as end:
            generations: Generations = end.value
            return generations
        if has_hung_up():
            generating.steps.close()
            msg = "The client hung up before its texts were continued."
            raise BadRequestError(msg, code="aborted")


def begin_generation(
    state: Services,
    project_id: str,
    ref: str,
    prompts: Prompts,
    unknown: Unknown,
    digits: int | None = None,
    *,
    streamed: bool = False,
    routing_key: str | None = None,
) -> Generating:
    """Begin to continue every text.

    Each step is a slice of the computing, so that other requests compute between any two of them. Where it is
    `streamed`, a step says what the continuations have grown by; those of a beam search are known at its end only.

    Raises:
        ConflictError: the model has no generator.
        UnprocessableError: some inputs are not texts, or are too long and `unknown` refuses that.
    """
    model = resolve(state, project_id, ref, routing_key)
    if not model.generates:
        msg = 'This model continues no texts; fine-tune a language model with {"kind": "generator"} among its heads.'
        raise ConflictError(msg, code="model_has_no_generator")
    predictor = load(state, model).model
    config = GenerationConfig(
        **prompts.model_dump(exclude={"inputs", "stop", "unknown", "digits", "timeout"}), stop=tuple(prompts.stop)
    )
    with state.turns.turn(project_id):
        doubts = Doubts()
        codes = _readable(lambda: predictor.prompts(prompts.inputs, doubts))
        _refuse_doubts(doubts, unknown)
    warnings = counted(state, doubts.warnings())

    seconds = remaining(at_most=_GENERATION_SECONDS)

    def steps() -> Generator[list[Piece], None, Generations]:
        generating = predictor.generating(codes, config, seconds, streamed=streamed)
        continuations = yield from _in_slices(state, project_id, generating)
        generations = [_shown(item, digits) for item in continuations]
        return Generations(model=model.name, generations=generations, warnings=warnings)

    return Generating(model.name, list(map(len, codes)), steps())


def count_tokens(state: Services, model: ResolvedModel, texts: Sequence[str]) -> int:
    """Return how many tokens texts have for a model of texts, begin marks included."""
    return sum(map(len, load(state, model).model.prompts(texts)))


def _in_slices(
    state: Services, project_id: str, steps: Generator[list[Piece], None, Value]
) -> Generator[list[Piece], None, Value]:
    """Take steps in slices of time, each in a turn of its own; yields the pieces of each slice."""
    while True:
        pieces: list[Piece] = []
        with state.turns.turn(project_id, goes_on=True):
            end_of_slice = time.monotonic() + _SLICE_SECONDS
            try:
                while time.monotonic() < end_of_slice:
                    pieces += next(steps)
            except StopIteration as end:
                result: Value = end.value
                break
        yield pieces
    yield pieces
    return result


def _shown(item: Continuations, digits: int | None) -> Generation:
    """Return continuations as an answer; the log-probability of each is rounded."""
    generation = Generation.model_validate(asdict(item))
    for continuation in generation.continuations:
        number = np.array([continuation.log_probability])
        continuation.log_probability = rounded(number, digits, PROBABILITY_DIGITS).item()
    return generation


def in_turns(
    state: Services,
    project_id: str,
    predictor: LoadedModel,
    inputs: Sequence[Any] | Rows,
    doubts: Doubts,
    unknown: Unknown,
) -> Iterator[Rows]:
    """Yield inputs in blocks of decoded rows (n, ...), each within a turn of computing of its own.

    Between two of them others have their turn, and no more than a block is in memory. `doubts.first` is the index of
    a block's first row.

    Raises:
        UnprocessableError: some inputs cannot be read, or are doubtful and `unknown` refuses that.
        DeadlineError: the request's time is up.
        BadRequestError: its client is gone.
    """
    for doubts.first, block in blocks_of(inputs, [predictor]):
        with state.turns.turn(project_id, goes_on=doubts.first > 0), ignore_overflow():
            check_deadline()
            yield decoded(predictor, block, doubts, unknown)


def decoded(predictor: LoadedModel, block: Sequence[Any] | Rows, doubts: Doubts, unknown: Unknown) -> Rows:
    """Return a block of inputs as rows, the first of which is `doubts.first`; raises as `in_turns`."""
    rows = _readable(lambda: predictor.decode(block, doubts), doubts.first)
    _refuse_doubts(doubts, unknown)
    return rows


def blocks_of(
    inputs: Sequence[Any] | Rows, predictors: Sequence[LoadedModel]
) -> Iterator[tuple[int, Sequence[Any] | Rows]]:
    """Yield inputs in blocks that suit all models, with the index of the first; large bodies are parsed by and by."""
    size = min(predictor.rows_in_a_turn for predictor in predictors)
    if isinstance(inputs, LazyRows):
        return inputs.blocks(size)
    return ((start, inputs[start : start + size]) for start in range(0, len(inputs), size))


def ignore_overflow() -> np.errstate:
    """Silence NumPy's warnings where huge inputs overflow float32: the results are checked instead."""
    return np.errstate(over="ignore", invalid="ignore")


def _readable(read: Callable[[], Value], first: int = 0) -> Value:
    """Return what `read` returns. Raises UnprocessableError for its `InputError`; `first` is the index of its row 0."""
    try:
        return read()
    except InputError as error:
        raise _unprocessable([_moved(loc, msg, first) for loc, msg in error.errors]) from None


def _moved(loc: Location, msg: str, first: int) -> tuple[Location, str]:
    row, *inner = loc or (None,)
    return ((row + first, *inner) if isinstance(row, int) else loc), msg


def _refuse_doubts(doubts: Doubts, unknown: Unknown) -> None:
    """Raise UnprocessableError where there are doubts and `unknown` refuses them."""
    errors = doubts.errors() if unknown == "refuse" else []
    if errors:
        raise _unprocessable(errors[:MAX_ERRORS])


def counted(state: Services, warnings: list[WarningItem]) -> list[WarningItem]:
    """Return the warnings of an answer, once the metrics have counted them."""
    for warning in warnings:
        state.metrics.warning(warning.code)
    return warnings


def _unprocessable(errors: Sequence[tuple[Location, str]]) -> UnprocessableError:
    items = [ErrorItem(loc=["inputs", *loc], msg=msg) for loc, msg in errors]
    place = ".".join(str(part) for part in items[0].loc)
    return UnprocessableError(f"{place}: {items[0].msg}", code="invalid_input", errors=items)
