"""Dependencies of endpoints: the services of this process, and a session that reads.

Endpoints that write call `state.database.transact`: it retries the transaction after a collision, and commits before
the response is sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.metrics import Metrics
from app.predictions.shadow import Shadows
from app.queue import JobQueue
from app.serving.engine import Engine
from app.settings import Settings
from app.shares.admission import Shares
from app.shares.turns import Turns


@dataclass(frozen=True)
class Services:
    """Objects that live as long as the process; set by `create_app` as `app.state.services`."""

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    queue: JobQueue
    engine: Engine
    metrics: Metrics
    shadows: Shadows
    shares: Shares
    turns: Turns


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


State = Annotated[Services, Depends(_services)]


def _reading(state: State) -> Iterator[Session]:
    with state.database.reading() as session:
        yield session


Reading = Annotated[Session, Depends(_reading, scope="function")]
