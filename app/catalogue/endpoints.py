"""The catalogue over HTTP."""

from app.catalogue import service
from app.catalogue.schemas import Catalogue
from app.security import CanRead, secure_router

router = secure_router("/v1/catalogue", "catalogue")


@router.get("")
def get(principal: CanRead) -> Catalogue:  # noqa: ARG001 - asking needs the scope
    """Return what jobs can be made of, with a JSON Schema of each kind's config."""
    return service.catalogue()
