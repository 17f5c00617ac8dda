"""The endpoints of liveness, readiness and metrics."""

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app.dependencies import Services, State
from app.errors import UnavailableError
from app.jobs import workers
from app.kit.files import space
from app.security import CanAdminister, operation_id, secure_router

router = APIRouter(prefix="/health", tags=["health"], generate_unique_id_function=operation_id)
metrics_router = secure_router("", "operations")
_MIN_FREE_BYTES = 1 << 30

Part = Literal["ok", "degraded"]


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the process can serve; `degraded` if a part is missing that jobs need to start."""

    status: Part
    parts: dict[str, str]


@router.get("/live")
async def get_liveness() -> Health:
    """Answer that the process is alive; needs no thread, so that it answers when all threads are busy."""
    return Health()


@router.get("/ready")
def get_readiness(state: State) -> Readiness:
    """Return whether the process can serve, that is, reach its database, and the state of each other part."""
    try:
        with state.database.reading() as session:
            has_workers = bool(workers.count_seen(session))
    except SQLAlchemyError as error:
        msg = "The database does not answer."
        raise UnavailableError(msg, code="database_unavailable") from error
    parts = {
        "database": "ok",
        "workers": "ok" if has_workers else "none was seen of late: jobs wait",
        **_other_parts(state),
    }
    is_well = set(parts.values()) == {"ok"} and not state.shares.is_exhausted()  # one greedy key is no reason
    return Readiness(status="ok" if is_well else "degraded", parts={**parts, **state.shares.states()})


def _other_parts(state: Services) -> dict[str, str]:
    free, _ = space(state.settings.data_folder)
    scarce = f"only {free >> 20} MiB are free" if free < _MIN_FREE_BYTES else "ok"
    return {
        "broker": "ok" if state.queue.reachable() else "does not answer: jobs start when workers look by themselves",
        "storage": scarce,
    }


@metrics_router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def get_metrics(state: State, _: CanAdminister) -> Response:
    """Return the metrics of this service, over all projects, in Prometheus' text format."""
    return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
