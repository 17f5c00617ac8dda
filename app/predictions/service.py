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
from app.ml.interfaces.head_answers import PROBABILITY_DIGITS, USUAL, AnswerOptions, Answers, feature_rows, rounded
from app.ml.spec import WarningItem
from app.predictions.bodies.json_rows import JsonRows
from app.predictions.deadlines import check_deadline, remaining
from app.predictions.formats import ArrayAnswer
from app.predictions.heads import chosen_heads, only_head
from app.predictions.resolution import ResolvedModel, load, predicting, resolve
from app.predictions.schemas import Embeddings, Generation, Generations, ModelName, Predictions, Prompts, Unknown
from app.predictions.shadow import MAX_WAITING_BYTES, Copy, is_chosen
from app.serving.engine import LoadedModel, Rows

MAX_ERRORS = 20
_GENERATION_SECONDS = 20.0  # after which continuations end as they are
_SLICE_SECONDS = 0.02  # for which a generation keeps its turn, or as long as a token takes
_BLOCKS_AT_ONCE = 8  # in the time and memory that as many rows take as a model computes together

Value = TypeVar("Value")


def predict(
    state: Services,
    project_id: str,
    ref: "str | ResolvedModel",
    inputs: Sequence[Any] | Rows,
    unknown: Unknown,
    heads: Sequence[str] | None = None,
    options: AnswerOptions = USUAL,
    *,
    routing_key: str | None = None,
) -> Predictions:
    """Return the prediction of every head, or of those that are asked for, for every input.

    Where the reference is an alias of several versions, requests of one `routing_key` are answered by the same.

    Raises:
        ConflictError: the model has no heads.
        UnprocessableError: some inputs cannot be read, or hold what training did not see and `unknown` refuses that;
            there is no such head.
    """
    model = predicting(state, project_id, ref, routing_key)
    predictor = load(state, model).model
    keys = chosen_heads(predictor.heads, heads)
    doubts, answers = Doubts(), list[dict[str, Any]]()
    began, size = time.perf_counter(), 0
    for rows in in_turns(state, project_id, predictor, inputs, doubts, unknown):
        answers += predictor.predict(rows, keys, options)
        size += sum(map(len, rows)) if rows.dtype == object else rows.nbytes
    if options.top_k is None:  # else not all of two answers could be compared
        _offer_copy(state, model, Answered(inputs, size, answers, time.perf_counter() - began, keys, options))
    return Predictions(model=model.name, predictions=answers, warnings=counted(state, doubts.warnings()))


def predict_array(
    state: Services,
    project_id: str,
    ref: str,
    inputs: Sequence[Any] | Rows,
    unknown: Unknown,
    heads: Sequence[str] | None = None,
    *,
    routing_key: str | None = None,
) -> ArrayAnswer:
    """Return the predictions of one head as an array: (N, K) of probabilities or several numbers, else (N,).

    Raises:
        ConflictError, UnprocessableError: as of `predict`; or there are several heads, and none is chosen.
    """
    model = predicting(state, project_id, ref, routing_key)
    predictor = load(state, model).model
    head = only_head(predictor.heads, heads)
    doubts, blocks = Doubts(), list[Answers]()
    for rows in in_turns(state, project_id, predictor, inputs, doubts, unknown):
        blocks += predictor.answers(rows, head)
    numbers = np.concatenate([block.array for block in blocks])
    warnings = counted(state, doubts.warnings())
    return ArrayAnswer(model.name, numbers, warnings, head, blocks[0].names, blocks[0].omitted)


@dataclass(frozen=True, slots=True)
class Answered:
    """Inputs, the bytes of the rows that they were read as, the answers, how long it took, and what was asked for."""

    inputs: Sequence[Any] | Rows
    size: int
    answers: list[dict[str, Any]]
    seconds: float
    heads: Sequence[str] | None
    options: AnswerOptions


def _offer_copy(state: Services, model: ResolvedModel, answered: Answered) -> None:
    """Let the shadow of an alias, if there is one, compute what was answered; large JSON bodies are not kept for it."""
    deal = model.deal
    if deal is None or deal.shadow is None or not is_chosen(deal.shadow_share):
        return
    shadow = deal.shadow

    def predict_again(inputs: Sequence[Any] | Rows) -> list[dict[str, Any]]:
        predictor = load(state, shadow).model
        with ignore_overflow():
            return predictor.predict(predictor.decode(inputs, Doubts()), answered.heads, answered.options)

    pair = deal.key, model.name.id, shadow.name.id
    size = MAX_WAITING_BYTES + 1 if isinstance(answered.inputs, JsonRows) else answered.size
    state.shadows.offer(Copy(pair, answered.inputs, answered.answers, answered.seconds, size, predict_again))


def embed(
    state: Services,
    project_id: str,
    ref: "str | ResolvedModel",
    inputs: Sequence[Any] | Rows,
    unknown: Unknown,
    digits: int | None = None,
    *,
    routing_key: str | None = None,
) -> Embeddings:
    """Return the embedding of every input; raises as `embed_array`."""
    answer = embed_array(state, project_id, ref, inputs, unknown, routing_key=routing_key)
    rows = feature_rows(answer.numbers, digits)
    return Embeddings(model=answer.model, embeddings=rows, warnings=answer.warnings)


def embed_array(
    state: Services,
    project_id: str,
    ref: "str | ResolvedModel",
    inputs: Sequence[Any] | Rows,
    unknown: Unknown,
    *,
    routing_key: str | None = None,
) -> ArrayAnswer:
    """Return the embeddings of all inputs, float32 (N, D).

    Raises:
        UnprocessableError: as of `predict`; or inputs are so large that their features are not finite.
    """
    model = resolve(state, project_id, ref, routing_key)
    predictor = load(state, model).model
    doubts, blocks = Doubts(), list[Rows]()
    for rows in in_turns(state, project_id, predictor, inputs, doubts, unknown):
        features = predictor.embed(rows)
        overflown = doubts.first + np.flatnonzero(~np.isfinite(features).all(axis=1))[:MAX_ERRORS]
        if len(overflown):
            raise _unprocessable([((int(row),), "its values are too large for this model") for row in overflown])
        blocks.append(features)
    return ArrayAnswer(model.name, np.concatenate(blocks), counted(state, doubts.warnings()))


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
    size = max(1, min(predictor.rows_at_once for predictor in predictors) // _BLOCKS_AT_ONCE)
    if isinstance(inputs, JsonRows):
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
