"""The endpoints of the catalogue."""

from typing import Annotated

from fastapi import Path

from app.catalogue import service
from app.catalogue.schemas import Catalogue, CatalogueEntry
from app.dependencies import State
from app.errors import Problem
from app.security import CanRead, secure_router

router = secure_router("/v1/catalogue", "catalogue")


@router.get("")
def get_catalogue(principal: CanRead, state: State) -> Catalogue:  # noqa: ARG001 - requires the scope
    """Return every kind that a job's config can name, with the JSON Schema of its config, and published weights."""
    return service.with_weights(state.settings.weights_folder)


@router.get("/jobs/{job_kind}", responses={404: {"model": Problem}})
def get_job_kind(job_kind: Annotated[str, Path(max_length=64)], principal: CanRead) -> CatalogueEntry:  # noqa: ARG001
    """Return a kind of job with the JSON Schema of its request, of a preparation of its options."""
    return service.job_kind(job_kind)
