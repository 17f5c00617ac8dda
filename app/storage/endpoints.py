"""The endpoint of storage."""

from typing import Annotated

from fastapi import Query

from app.dependencies import State
from app.security import CanRead, secure_router
from app.storage import service as reports
from app.storage.schemas import Storage

ListsService = Annotated[
    bool,
    Query(
        description="False leaves out `service`, for which every file of the store is listed: minutes where there are "
        "millions. Only administrators get it anyway."
    ),
]

router = secure_router("/v1/storage", "storage")


@router.get("")
def get_storage(state: State, principal: CanRead, service: ListsService = True) -> Storage:
    """Return the disk space of the project's files, what is left of its quota and, for an administrator, all files."""
    return reports.report(state, principal, lists_service=service)
