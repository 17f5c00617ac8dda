"""Endpoints of predictions, embeddings and generations; with the model in memory they need no database."""

from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import WithJsonSchema

from app.dependencies import State
from app.errors import ErrorItem, Problem, UnprocessableError
from app.kit import sse
from app.kit.hang_ups import has_hung_up
from app.ml.interfaces.head_answers import MAX_DIGITS
from app.models.endpoints import Ref
from app.predictions import joint, service
from app.predictions.answers import pieces_response, reserving
from app.predictions.bodies import (
    read_inputs,
    read_joint_inputs,
    read_prediction_inputs,
    read_prompts,
    request_body,
)
from app.predictions.deadlines import limited
from app.predictions.formats import JSON, NPY, RAW, acceptable, array_response, refuse_options
from app.predictions.schemas import (
    Embeddings,
    Generations,
    Inputs,
    JointInputs,
    JointPredictions,
    PredictionInputs,
    PredictionOptions,
    Predictions,
    Prompts,
    Unknown,
)
from app.predictions.stream import generation_lines
from app.security import CanPredict, secure_router

router = secure_router("/v1/models", "predictions")
joint_router = secure_router("/v1/predictions", "predictions")
for each in (router, joint_router):
    each.dependencies.append(Depends(limited))

UnknownQuery = Annotated[
    Unknown,
    Query(
        description="What becomes of an input that holds what training did not see: unknown categories or keys, values "
        "far outside, texts that are too long. warn: it is answered, and `warnings` say so; refuse: 422."
    ),
]
DigitsQuery = Annotated[
    int | None,
    Query(
        ge=1,
        le=MAX_DIGITS,
        description="Significant digits of every number. By default probabilities have 7, embeddings the 9 with which "
        "a float32 is read back exactly, and predicted numbers decimals to a ten millionth of their target's "
        "deviation; 17: as they were computed.",
    ),
]
TopKQuery = Annotated[
    int | None,
    Query(ge=1, le=1_000_000, description="Only so many of the most probable classes or labels, the highest first."),
]
HeadsQuery = Annotated[
    list[str] | None,
    Query(description="The heads that answer, by their keys, several times or with commas; by default all."),
]


def prediction_options(
    unknown: UnknownQuery = "warn", heads: HeadsQuery = None, top_k: TopKQuery = None, digits: DigitsQuery = None
) -> PredictionOptions:
    """Return what the query says."""
    return PredictionOptions(unknown, heads, top_k, digits)


def unknown_and_digits(unknown: UnknownQuery = "warn", digits: DigitsQuery = None) -> PredictionOptions:
    """Return what the query says of embeddings, or of generations."""
    return PredictionOptions(unknown, None, None, digits)


UnknownAndDigits = Annotated[PredictionOptions, Depends(unknown_and_digits)]
QueryOptions = Annotated[PredictionOptions, Depends(prediction_options)]
Accept = Annotated[
    list[str] | None,
    Header(description=f"{JSON}, or as an array {NPY} or {RAW}; an array holds the answers of one head."),
    WithJsonSchema({"type": "string"}),  # of any number of such headers; clients send one
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


ARRAYS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {form: {"schema": {"type": "string", "format": "binary"}} for form in (NPY, RAW)},
        "headers": {
            "Graftwork-Answer": {
                "description": "Of an array, as JSON: model, dtype, shape, head, names, omitted and warnings.",
                "schema": {"type": "string"},
            }
        },
    },
    406: {"model": Problem, "description": "Accept names no form in which the answer comes."},
}


@router.post(
    "/{ref}/predictions",
    responses=MISSING | NO_HEADS | ARRAYS,
    openapi_extra=request_body(PredictionInputs),
    response_model=Predictions,
)
def create_predictions(
    request: Request,
    state: State,
    principal: CanPredict,
    ref: Ref,
    body: Annotated[PredictionInputs, Depends(read_prediction_inputs)],
    query: QueryOptions,
    key: RoutingKey = None,
    accept: Accept = None,
) -> Response:
    """Return the prediction of every head of a model, or of those that are asked for, for every input."""
    form, options = acceptable(accept or ()), query.with_body(body)
    asked = state, principal.project_id, ref, body.inputs, options, reserving(request)
    if form == JSON:
        return pieces_response(service.predict(*asked, routing_key=key))
    refuse_options(form, digits=options.digits, top_k=options.top_k)
    return array_response(service.predict_array(*asked, routing_key=key), form)


@joint_router.post(
    "", responses=MISSING | NO_HEADS, openapi_extra=request_body(JointInputs), response_model=JointPredictions
)
def create_joint_predictions(
    request: Request,
    state: State,
    principal: CanPredict,
    body: Annotated[JointInputs, Depends(read_joint_inputs)],
    query: QueryOptions,
    models: Annotated[  # noqa: ARG001 - it is read with the body
        list[str] | None, Query(description="As the field of a JSON body, for bodies that hold rows alone.")
    ] = None,
    key: RoutingKey = None,
    accept: Accept = None,
) -> Response:
    """Return the predictions of several models for the same inputs; a backbone that some of them share runs once."""
    acceptable(accept or (), (JSON,))
    options, reserve = query.with_body(body), reserving(request)
    asked = state, principal.project_id, body.models, body.inputs, options, reserve
    return pieces_response(joint.predict(*asked, routing_key=key))


@router.post(
    "/{ref}/generations",
    responses=MISSING | NO_GENERATOR | STREAM,
    response_model=Generations,
    openapi_extra=request_body(Prompts),
)
def create_generations(
    request: Request,
    state: State,
    principal: CanPredict,
    ref: Ref,
    body: Annotated[Prompts, Depends(read_prompts)],
    query: UnknownAndDigits,
    key: RoutingKey = None,
    accept: Annotated[str, Header(description="text/event-stream sends the texts as they grow.")] = "",
) -> Generations | StreamingResponse:
    """Continue texts with a model that has a generator."""
    asked = state, principal.project_id, ref, body, body.unknown or query.unknown, body.digits or query.digits
    streamed = sse.is_asked_for(accept)
    if streamed and body.beams > 1:
        raise UnprocessableError(NO_BEAMS, errors=[ErrorItem(loc=["body", "beams"], msg=NO_BEAMS)])
    begun = service.begin_generation(*asked, streamed=streamed, routing_key=key)
    if not streamed:
        return service.finish(begun, partial(has_hung_up, request))
    return sse.event_stream(generation_lines(begun, request.state.request_id))


@router.post("/{ref}/embeddings", responses=MISSING | ARRAYS, openapi_extra=request_body(), response_model=Embeddings)
def create_embeddings(
    request: Request,
    state: State,
    principal: CanPredict,
    ref: Ref,
    body: Annotated[Inputs, Depends(read_inputs)],
    query: UnknownAndDigits,
    key: RoutingKey = None,
    accept: Accept = None,
) -> Response:
    """Return the embedding of every input: the features of the model's backbone."""
    form, digits = acceptable(accept or ()), body.digits or query.digits
    asked = state, principal.project_id, ref, body.inputs, body.unknown or query.unknown, reserving(request)
    if form == JSON:
        return pieces_response(service.embed(*asked, digits, routing_key=key))
    refuse_options(form, digits=digits)
    return array_response(service.embed_array(*asked, routing_key=key), form)
