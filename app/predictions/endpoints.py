"""Endpoints of predictions, embeddings and generations; with the model in memory they need no database."""

from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from app.dependencies import State
from app.errors import ErrorItem, Problem, UnprocessableError
from app.kit import sse
from app.kit.hang_ups import has_hung_up
from app.models.endpoints import Ref
from app.predictions import service
from app.predictions.bodies import read_inputs, read_prompts, request_body
from app.predictions.schemas import Embeddings, Generations, Inputs, Predictions, Prompts, Unknown
from app.predictions.stream import generation_lines
from app.security import CanPredict, secure_router

router = secure_router("/v1/models", "predictions")

InputsBody = Annotated[Inputs, Depends(read_inputs)]
PromptsBody = Annotated[Prompts, Depends(read_prompts)]
UnknownQuery = Annotated[
    Unknown,
    Query(
        description="What becomes of an input that holds what training did not see: unknown categories or keys, values "
        "far outside, texts that are too long. warn: it is answered, and `warnings` say so; refuse: 422."
    ),
]

NO_BEAMS = "a beam search knows its texts at the end alone; leave out beams, or ask for no text/event-stream"
RoutingKey = Annotated[
    str | None,
    Header(
        alias="X-Routing-Key",
        max_length=500,
        description="Under an alias of several versions: requests with equal keys are answered by the same version.",
    ),
]

MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such model."},
    413: {"model": Problem, "description": "The body is too large."},
    415: {"model": Problem, "description": "The body's Content-Type is none of those that are read."},
}
NO_GENERATOR: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The model has no generator."}}
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {sse.MEDIA_TYPE: {}}}}
NO_HEADS: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The model is a backbone without heads."}
}


@router.post("/{ref}/predictions", responses=MISSING | NO_HEADS, openapi_extra=request_body())
def predict(
    state: State,
    principal: CanPredict,
    ref: Ref,
    body: InputsBody,
    unknown: UnknownQuery = "warn",
    key: RoutingKey = None,
) -> Predictions:
    """Return the prediction of every head of a model for every input."""
    return service.predict(state, principal.project_id, ref, body.inputs, body.unknown or unknown, key)


@router.post(
    "/{ref}/generations",
    responses=MISSING | NO_GENERATOR | STREAM,
    response_model=Generations,
    openapi_extra=request_body(Prompts),
)
def generate(
    request: Request,
    state: State,
    principal: CanPredict,
    ref: Ref,
    body: PromptsBody,
    unknown: UnknownQuery = "warn",
    accept: Annotated[str, Header(description="text/event-stream sends the texts as they grow.")] = "",
) -> Generations | StreamingResponse:
    """Continue texts with a model that has a generator."""
    streamed = sse.is_asked_for(accept)
    if streamed and body.beams > 1:
        raise UnprocessableError(NO_BEAMS, errors=[ErrorItem(loc=["body", "beams"], msg=NO_BEAMS)])
    begun = service.begin_generation(state, principal.project_id, ref, body, body.unknown or unknown, streamed=streamed)
    if not streamed:
        return service.finish(begun, partial(has_hung_up, request))
    return sse.event_stream(generation_lines(begun, request.state.request_id))


@router.post("/{ref}/embeddings", responses=MISSING, openapi_extra=request_body())
def embed(
    state: State,
    principal: CanPredict,
    ref: Ref,
    body: InputsBody,
    unknown: UnknownQuery = "warn",
    key: RoutingKey = None,
) -> Embeddings:
    """Return the embedding of every input: the features of the model's backbone."""
    return service.embed(state, principal.project_id, ref, body.inputs, body.unknown or unknown, key)
