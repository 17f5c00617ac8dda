"""Whether the process lives, and whether it can serve."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.dependencies import State
from app.errors import UnavailableError

router = APIRouter(prefix="/health", tags=["health"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


@router.get("/live")
async def live() -> Health:
    """The process is alive. It waits for no thread, however busy they are."""
    return Health()


@router.get("/ready")
def ready(state: State) -> Health:
    """The process can serve: its database answers."""
    try:
        with state.database.reading() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        msg = "The database does not answer."
        raise UnavailableError(msg, code="database_unavailable") from error
    return Health()
