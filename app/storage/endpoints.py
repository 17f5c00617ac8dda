"""The storage over HTTP."""

from app.dependencies import State
from app.security import CanRead, secure_router
from app.storage import service
from app.storage.schemas import Storage

router = secure_router("/v1/storage", "storage")


@router.get("")
def get(state: State, principal: CanRead) -> Storage:
    """Return what files take: the project's and, for a key with the scope admin, those of the whole service."""
    return service.report(state, principal)
