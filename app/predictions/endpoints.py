"""Endpoints of predictions, embeddings and generations; with the model in memory they need no database."""

from typing import Annotated, Any

from fastapi import Depends, Query

from app.dependencies import State
from app.errors import Problem
from app.models.endpoints import Ref
from app.predictions import service
from app.predictions.bodies import read_inputs, read_prompts, request_body
from app.predictions.schemas import Embeddings, Generations, Inputs, Predictions, Prompts, Unknown
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

MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such model."},
    413: {"model": Problem, "description": "The body is too large."},
    415: {"model": Problem, "description": "The body's Content-Type is none of those that are read."},
}
NO_GENERATOR: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The model has no generator."}}
NO_HEADS: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The model is a backbone without heads."}
}


@router.post("/{ref}/predictions", responses=MISSING | NO_HEADS, openapi_extra=request_body())
def predict(
    state: State, principal: CanPredict, ref: Ref, body: InputsBody, unknown: UnknownQuery = "warn"
) -> Predictions:
    """Return the prediction of every head of a model for every input."""
    return service.predict(state, principal.project_id, ref, body.inputs, body.unknown or unknown)


@router.post("/{ref}/generations", responses=MISSING | NO_GENERATOR, openapi_extra=request_body(Prompts))
def generate(
    state: State, principal: CanPredict, ref: Ref, body: PromptsBody, unknown: UnknownQuery = "warn"
) -> Generations:
    """Continue texts with a model that has a generator."""
    return service.generate(state, principal.project_id, ref, body, body.unknown or unknown)


@router.post("/{ref}/embeddings", responses=MISSING, openapi_extra=request_body())
def embed(
    state: State, principal: CanPredict, ref: Ref, body: InputsBody, unknown: UnknownQuery = "warn"
) -> Embeddings:
    """Return the embedding of every input: the features of the model's backbone."""
    return service.embed(state, principal.project_id, ref, body.inputs, body.unknown or unknown)
