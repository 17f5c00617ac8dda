"""The endpoint of the catalogue."""

from app.catalogue import service
from app.catalogue.schemas import Catalogue
from app.dependencies import State
from app.security import CanRead, secure_router

router = secure_router("/v1/catalogue", "catalogue")


@router.get("")
def get(principal: CanRead, state: State) -> Catalogue:  # noqa: ARG001 - requires the scope
    """Return every kind that a job's config can name, with the JSON Schema of its config, and published weights."""
    return service.with_weights(state.settings.weights_folder)
