"""Which model a reference means, what is known of it, and the model in memory; references are cached."""

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from app.aliases import service as aliases
from app.aliases.repository import AliasKey
from app.aliases.traffic import choose
from app.dependencies import Services
from app.errors import ConflictError, NotFoundError
from app.ml.interfaces import HeadConfig
from app.ml.interfaces.answers import AnswerPart
from app.ml.interfaces.signature import Signature
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.registry import kinds
from app.models import loading
from app.models import service as models
from app.models.loading import preload
from app.models.repository import ModelRow
from app.models.signatures import answer_parts_of, signature_of
from app.predictions.schemas import ModelName
from app.serving.engine import Resident

_GENERATORS = {kind for kind, config in kinds(AnyHead).items() if issubclass(config, HeadConfig) and config.generates}


@dataclass(frozen=True)
class ResolvedModel:
    """The part of a model's row that predictions need; cached by reference, and by id."""

    name: ModelName
    files: dict[str, Any]
    has_heads: bool
    generates: bool
    modality: str
    features: int  # of an embedding
    deal: "Deal | None" = None

    @property
    def answering(self) -> dict[str, "ResolvedModel"]:
        """The models that answer or shadow the requests for it, by id."""
        dealt = (*(model for model, _ in self.deal.weights), self.deal.shadow) if self.deal else (self,)
        return {model.name.id: model for model in dealt if model is not None}


@dataclass(frozen=True)
class Deal:
    """How the requests for an alias are dealt out, where one version is not all that it means."""

    key: AliasKey
    weights: tuple[tuple[ResolvedModel, float], ...]
    shadow: ResolvedModel | None
    shadow_share: float


@dataclass(frozen=True)
class Description:
    """What a model takes, and the parts of every head's answers by its key; large where there are many columns."""

    signature: Signature
    answer_parts: dict[str, tuple[AnswerPart, ...]]


def predicting(
    state: Services, project_id: str, ref: "str | ResolvedModel", routing_key: str | None = None
) -> ResolvedModel:
    """Return the model that a reference means. Raises ConflictError where it has no heads."""
    model = resolve(state, project_id, ref, routing_key)
    if not model.has_heads:
        msg = "This model is a backbone without heads; ask it for embeddings, or fine-tune it and ask the new model."
        raise ConflictError(msg, code="model_has_no_heads")
    return model


def resolve(
    state: Services, project_id: str, ref: str | ResolvedModel, routing_key: str | None = None
) -> ResolvedModel:
    """Return the model that is to answer a request, by what its reference meant at most two seconds ago.

    Where it means another model since, and that is not in memory, the former answers until it is, for some seconds at
    most. Of an alias of several versions it is one by weight: always the same for the same routing key, at random
    without. A model that was resolved before is returned as it is.

    Raises:
        NotFoundError: the project has no such model.
    """
    if isinstance(ref, ResolvedModel):
        return ref
    model = _meaning(state, project_id, ref)
    if model.deal is None:
        return model
    salt = f"{model.deal.key.name}@{model.deal.key.alias}"
    return replace(choose(model.deal.weights, routing_key, salt), deal=model.deal)


def follow(state: Services) -> None:
    """Load what references mean since another process changed the registry, before a request has to wait for it."""
    for project_id, ref in state.engine.references.outdated():
        with suppress(NotFoundError):
            _meaning(state, project_id, ref, is_use=False)


def _meaning(state: Services, project_id: str, ref: str, *, is_use: bool = True) -> ResolvedModel:
    references = state.engine.references

    def look_up() -> ResolvedModel:
        with state.database.reading() as session:
            row = models.resolve(session, project_id, ref, light=True)
            resolved: ResolvedModel = references.known(row.id, lambda: _resolved(row))
            dealing = aliases.dealing(session, project_id, ref)
            return replace(resolved, deal=_deal(dealing)) if dealing else resolved

    refresh(state)
    model: ResolvedModel = references.get((project_id, ref), look_up, partial(_loading, state), is_use=is_use)
    return model


def _loading(state: Services, former: ResolvedModel, model: ResolvedModel) -> Future[object] | None:
    """Begin to load a model through which a former one, in memory, can answer; None where nothing has to wait."""
    absent = [(id_, each.files) for id_, each in model.answering.items() if state.engine.peek(id_) is None]
    if not absent or any(state.engine.peek(id_) is None for id_ in former.answering):
        return None
    return preload(state, absent)


def _deal(dealing: aliases.Dealing) -> Deal:
    weights = tuple((_resolved(row), weight) for row, weight in dealing.weights)
    shadow = _resolved(dealing.shadow) if dealing.shadow else None
    return Deal(dealing.key, weights, shadow, dealing.shadow_share)


def refresh(state: Services, *, early: bool = False) -> None:
    """Look up anew what references mean if the registry has changed since it was looked at, a second ago or longer.

    `early`: half a second.
    """

    def revision() -> tuple[Any, ...]:
        with state.database.reading() as session:
            return models.revision(session)

    state.engine.references.refresh(revision, early=early)


def _resolved(row: ModelRow) -> ResolvedModel:
    heads = {head["config"]["kind"] for head in row.manifest["heads"]}
    return ResolvedModel(
        ModelName(id=row.id, name=row.name, version=row.version),
        row.files,
        has_heads=bool(heads),
        generates=bool(heads & _GENERATORS),
        modality=row.manifest["modality"]["kind"],
        features=row.manifest["features"],
    )


def describe(state: Services, project_id: str, model: ResolvedModel) -> Description:
    """Return what a model takes and answers. Raises NotFoundError where it was deleted just now."""

    def look_up() -> Description:
        with state.database.reading() as session:
            manifest = models.resolve(session, project_id, model.name.id).manifest
        return Description(signature_of(manifest), answer_parts_of(manifest))

    description: Description = state.engine.references.described(model.name.id, look_up)
    return description


def versions_of(state: Services, project_id: str, model: ResolvedModel) -> list[int]:
    """Return the versions of a model's name, the oldest first."""
    with state.database.reading() as session:
        return models.versions(session, project_id, model.name.name)


def load(state: Services, model: ResolvedModel) -> Resident:
    """Return a model in memory, loaded if need be. Raises CorruptError for damaged files."""
    return loading.load(state, model.name.id, model.files)
