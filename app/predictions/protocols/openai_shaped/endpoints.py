"""Endpoints in OpenAI's shape, under /openai/v1."""

import base64
from functools import partial
from typing import Any

from fastapi import Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from pydantic_core import to_json

from app.dependencies import Reading, State
from app.errors import ErrorItem, Problem, UnprocessableError
from app.kit import sse
from app.kit.hang_ups import has_hung_up
from app.ml.interfaces import Rows
from app.ml.interfaces.head_answers import feature_rows
from app.ml.spec import WarningItem
from app.models import service as models
from app.models.endpoints import Ref
from app.predictions import resolution, service
from app.predictions.answers import JsonItems, pieces_response, reserving
from app.predictions.deadlines import allow, limited
from app.predictions.endpoints import RoutingKey
from app.predictions.protocols.openai_shaped.completions import Completions, prompts_of
from app.predictions.protocols.openai_shaped.schemas import (
    Completion,
    CompletionsRequest,
    Embedding,
    EmbeddingList,
    EmbeddingsRequest,
    ListedModel,
    ModelList,
    TokenUsage,
)
from app.predictions.schemas import Prompts
from app.security import CanPredict, secure_router

router = secure_router("/openai/v1", "openai")

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such model."}}
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {sse.MEDIA_TYPE: {}}}}


@router.get("/models")
def list_openai_models(session: Reading, principal: CanPredict) -> ModelList:
    """List what models are called: every name, which means its newest version, and every alias."""
    named = models.named(session, principal.project_id)
    return ModelList(data=[_listed(ref, row) for ref, row in named])


@router.get("/models/{ref}", responses=_MISSING)
def get_openai_model(session: Reading, principal: CanPredict, ref: Ref) -> ListedModel:
    """Return what a reference to a model means."""
    return _listed(ref, models.resolve(session, principal.project_id, ref))


def _listed(ref: str, row: Any) -> ListedModel:
    return ListedModel(id=ref, created=int(row.created_at), modality=row.manifest["modality"]["kind"])


@router.post("/embeddings", responses=_MISSING, dependencies=[Depends(limited)], response_model=EmbeddingList)
def create_openai_embeddings(
    request: Request, principal: CanPredict, state: State, body: EmbeddingsRequest, key: RoutingKey = None
) -> Response:
    """Return the embedding of every text: the features of the model's backbone."""
    allow(body.timeout)
    model = resolution.resolve(state, principal.project_id, body.model, key)
    if model.modality != "text":
        msg = f"this model takes {model.modality} rows: ask POST /v1/models/{{ref}}/embeddings"
        raise _refuse(msg, "model")
    if body.dimensions not in (None, model.features):
        msg = f"this model's embeddings have {model.features} dimensions, and cannot be shortened"
        raise _refuse(msg, "dimensions")
    warnings, index = list[WarningItem](), 0
    items = JsonItems(len(body.input), reserving(request))
    for features in service.embedded_blocks(state, principal.project_id, model, body.input, "warn", warnings):
        written = enumerate(_written(features, body.encoding_format), index)
        items.add([Embedding(index=place, embedding=embedding) for place, embedding in written])
        index += len(features)
    tokens = service.count_tokens(state, model, body.input)
    rest = {
        "model": f"{model.name.name}@{model.name.version}",
        "usage": TokenUsage(prompt_tokens=tokens, total_tokens=tokens),
        "warnings": warnings,
    }
    return pieces_response([b'{"object":"list","data":[', *items.pieces, b"]," + to_json(rest)[1:]])


def _written(features: Rows, encoding_format: str | None) -> list[Any]:
    """Return embeddings (N, F) as lists of numbers, or as float32 in base64."""
    if encoding_format == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in features]
    return feature_rows(features)


@router.post("/completions", responses=_MISSING | _STREAM, response_model=Completion, dependencies=[Depends(limited)])
def create_openai_completions(
    request: Request, principal: CanPredict, state: State, body: CompletionsRequest, key: RoutingKey = None
) -> Completion | StreamingResponse:
    """Continue texts with a model that has a generator."""
    allow(body.timeout)
    prompts = _checked(body)
    begun = service.begin_generation(
        state, principal.project_id, body.model, prompts, "warn", streamed=bool(body.stream), routing_key=key
    )
    completions = Completions(body, begun)
    if body.stream:
        return sse.event_stream(completions.lines(request.state.request_id))
    return completions.answer(service.finish(begun, partial(has_hung_up, request)))


def _checked(body: CompletionsRequest) -> Prompts:
    """Return a request as our own generations have it. Raises UnprocessableError: it asks for too much at once."""
    try:
        return prompts_of(body)
    except ValidationError as error:
        raise _refuse(str(error.errors()[0]["msg"]).removeprefix("Value error, "), "max_tokens") from None


def _refuse(msg: str, param: str) -> UnprocessableError:
    return UnprocessableError(f"{param}: {msg}", errors=[ErrorItem(loc=["body", param], msg=msg)])
