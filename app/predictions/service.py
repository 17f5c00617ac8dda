"""Predictions, embeddings and generations of loaded models; resolved references are cached for two seconds."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from app.dependencies import Services
from app.errors import ConflictError, ErrorItem, UnavailableError, UnprocessableError
from app.ml.configs.generation import GenerationConfig, Piece, result_of
from app.ml.errors import InputError, Location
from app.ml.interfaces import HeadConfig
from app.ml.interfaces.answers import AnswerPart
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.signature import Signature
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.registry import kinds
from app.ml.spec import WarningItem
from app.models import loading
from app.models import service as models
from app.models.signatures import answer_parts_of, signature_of
from app.predictions.schemas import Embeddings, Generation, Generations, ModelName, Predictions, Prompts, Unknown
from app.serving.engine import LoadedModel, Resident, Rows

_GENERATORS = {kind for kind, config in kinds(AnyHead).items() if issubclass(config, HeadConfig) and config.generates}
MAX_ERRORS = 20
_MAX_WAIT_SECONDS = 5.0
_GENERATION_SECONDS = 20.0  # after which continuations end as they are
_SLICE_SECONDS = 0.02  # for which a generation keeps a slot, or as long as a token takes
_PAUSE_SECONDS = 0.0002  # in which whoever waits for the slot gets it

Value = TypeVar("Value")


@dataclass(frozen=True)
class ResolvedModel:
    """The part of a model's row that predictions need; cached by reference."""

    name: ModelName
    files: dict[str, Any]
    has_heads: bool
    generates: bool
    manifest: dict[str, Any]

    @cached_property
    def signature(self) -> Signature:
        """What it takes."""
        return signature_of(self.manifest)

    @cached_property
    def answer_parts(self) -> dict[str, tuple[AnswerPart, ...]]:
        """The parts of every head's answers, by the head's key."""
        return answer_parts_of(self.manifest)


def predict(state: Services, project_id: str, ref: str, inputs: Sequence[Any], unknown: Unknown) -> Predictions:
    """Return the prediction of every head for every input.

    Raises:
        ConflictError: the model has no heads.
        UnprocessableError: some inputs cannot be read, or hold what training did not see and `unknown` refuses that.
    """
    model = resolve(state, project_id, ref)
    if not model.has_heads:
        msg = "This model is a backbone without heads; ask it for embeddings, or fine-tune it and ask the new model."
        raise ConflictError(msg, code="model_has_no_heads")
    predictor = load(state, model).model
    with _compute_slot(state), ignore_overflow():
        rows, warnings = _decode(predictor, inputs, unknown)
        answers = predictor.predict(rows)
    return Predictions(model=model.name, predictions=answers, warnings=_counted(state, warnings))


def embed(state: Services, project_id: str, ref: str, inputs: Sequence[Any], unknown: Unknown) -> Embeddings:
    """Return the embedding of every input.

    Raises:
        UnprocessableError: as of `predict`; or inputs are so large that their features are not finite.
    """
    model = resolve(state, project_id, ref)
    predictor = load(state, model).model
    with _compute_slot(state), ignore_overflow():
        rows, warnings = _decode(predictor, inputs, unknown)
        features = predictor.embed(rows)
    overflown = np.flatnonzero(~np.isfinite(features).all(axis=1))[:20]
    if len(overflown):
        raise _unprocessable([((int(row),), "its values are too large for this model") for row in overflown])
    return Embeddings(model=model.name, embeddings=features.tolist(), warnings=_counted(state, warnings))


@dataclass(frozen=True)
class Generating:
    """A generation that has begun: nothing is wrong with its request. `steps` return its answer."""

    model: ModelName
    prompt_tokens: list[int]
    steps: Generator[list[Piece], None, Generations]


def generate(state: Services, project_id: str, ref: str, prompts: Prompts, unknown: Unknown) -> Generations:
    """Continue every text.

    Raises:
        ConflictError: the model has no generator.
        UnprocessableError: some inputs are not texts, or are too long and `unknown` refuses that.
    """
    return result_of(begin_generation(state, project_id, ref, prompts, unknown).steps)


def begin_generation(
    state: Services, project_id: str, ref: str, prompts: Prompts, unknown: Unknown, *, streamed: bool = False
) -> Generating:
    """Begin to continue every text; raises as `generate`.

    Each step is a slice of the computing, so that other requests compute between any two of them. Where it is
    `streamed`, a step says what the continuations have grown by; those of a beam search are known at its end only.
    """
    model = resolve(state, project_id, ref)
    if not model.generates:
        msg = 'This model continues no texts; fine-tune a language model with {"kind": "generator"} among its heads.'
        raise ConflictError(msg, code="model_has_no_generator")
    predictor = load(state, model).model
    config = GenerationConfig(**prompts.model_dump(exclude={"inputs", "stop", "unknown"}), stop=tuple(prompts.stop))
    with _compute_slot(state):
        doubts = Doubts()
        codes = _readable(lambda: predictor.prompts(prompts.inputs, doubts))
        warnings = _counted(state, _settled(doubts, unknown))

    def steps() -> Generator[list[Piece], None, Generations]:
        generating = predictor.generating(codes, config, _GENERATION_SECONDS, streamed=streamed)
        continuations = yield from _in_slices(state, generating)
        generations = [Generation.model_validate(asdict(item)) for item in continuations]
        return Generations(model=model.name, generations=generations, warnings=warnings)

    return Generating(model.name, list(map(len, codes)), steps())


def count_tokens(state: Services, model: ResolvedModel, texts: Sequence[str]) -> int:
    """Return how many tokens texts have for a model of texts, begin marks included."""
    return sum(map(len, load(state, model).model.prompts(texts)))


def _in_slices(state: Services, steps: Generator[list[Piece], None, Value]) -> Generator[list[Piece], None, Value]:
    """Take steps in slices of time, holding a slot for each and none between them; yields the pieces of each slice."""
    while True:
        pieces: list[Piece] = []
        with _compute_slot(state):
            end_of_slice = time.monotonic() + _SLICE_SECONDS
            try:
                while time.monotonic() < end_of_slice:
                    pieces += next(steps)
            except StopIteration as end:
                result: Value = end.value
                break
        yield pieces
        time.sleep(_PAUSE_SECONDS)
    yield pieces
    return result


@contextmanager
def _compute_slot(state: Services) -> Iterator[None]:
    """Hold one of as many slots as there are cores. Raises UnavailableError after `_MAX_WAIT_SECONDS` without one."""
    if not state.engine.computing.acquire(timeout=_MAX_WAIT_SECONDS):
        msg = "All cores are busy with predictions; try again."
        raise UnavailableError(msg, code="busy")
    try:
        yield
    finally:
        state.engine.computing.release()


def resolve(state: Services, project_id: str, ref: str) -> ResolvedModel:
    """Return the model that a reference means, as it was at most two seconds ago. Raises NotFoundError."""

    def look_up() -> ResolvedModel:
        with state.database.reading() as session:
            row = models.resolve(session, project_id, ref)
        name = ModelName(id=row.id, name=row.name, version=row.version)
        heads = {head["config"]["kind"] for head in row.manifest["heads"]}
        return ResolvedModel(
            name, row.files, has_heads=bool(heads), generates=bool(heads & _GENERATORS), manifest=row.manifest
        )

    model: ResolvedModel = state.engine.references.get((project_id, ref), look_up)
    return model


def versions_of(state: Services, project_id: str, model: ResolvedModel) -> list[int]:
    """Return the versions of a model's name, the oldest first."""
    with state.database.reading() as session:
        return models.versions(session, project_id, model.name.name)


def load(state: Services, model: ResolvedModel) -> Resident:
    """Return a model in memory, loaded if need be. Raises CorruptError for damaged files."""
    return loading.load(state, model.name.id, model.files)


def ignore_overflow() -> np.errstate:
    """Silence NumPy's warnings where huge inputs overflow float32: the results are checked instead."""
    return np.errstate(over="ignore", invalid="ignore")


def _decode(predictor: LoadedModel, inputs: Sequence[Any], unknown: Unknown) -> tuple[Rows, list[WarningItem]]:
    doubts = Doubts()
    rows = _readable(lambda: predictor.decode(inputs, doubts))
    return rows, _settled(doubts, unknown)


def _readable(read: Callable[[], Value]) -> Value:
    """Return what `read` returns. Raises UnprocessableError for its `InputError`."""
    try:
        return read()
    except InputError as error:
        raise _unprocessable(error.errors) from None


def _settled(doubts: Doubts, unknown: Unknown) -> list[WarningItem]:
    """Return the warnings of a request. Raises UnprocessableError where what is doubtful is to be refused."""
    errors = doubts.errors() if unknown == "refuse" else []
    if errors:
        raise _unprocessable(errors[:MAX_ERRORS])
    return doubts.warnings()


def _counted(state: Services, warnings: list[WarningItem]) -> list[WarningItem]:
    for warning in warnings:
        state.metrics.warning(warning.code)
    return warnings


def _unprocessable(errors: Sequence[tuple[Location, str]]) -> UnprocessableError:
    items = [ErrorItem(loc=["inputs", *loc], msg=msg) for loc, msg in errors]
    place = ".".join(str(part) for part in items[0].loc)
    return UnprocessableError(f"{place}: {items[0].msg}", code="invalid_input", errors=items)
