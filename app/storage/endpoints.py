"""The endpoint of storage."""

from app.dependencies import State
from app.security import CanRead, secure_router
from app.storage import service
from app.storage.schemas import Storage

router = secure_router("/v1/storage", "storage")


@router.get("")
def get_storage(state: State, principal: CanRead) -> Storage:
    """Return the disk space of the project's files, what is left of its quota and, for an administrator, all files."""
    return service.report(state, principal)
