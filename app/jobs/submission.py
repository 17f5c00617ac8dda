"""How a request for a job is answered: once for its key, and with where the job is."""

from collections.abc import Callable
from functools import partial

from fastapi import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.db.session import Database
from app.idempotency.service import fingerprint, once
from app.jobs.schemas import Job
from app.keys.service import Principal


def submit_once(
    database: Database,
    principal: Principal,
    key: str | None,
    route: str,
    body: BaseModel,
    response: Response,
    submit: Callable[[Session], Job],
) -> Job:
    """Run `submit` unless this key was used before, and point to the job. Raises like `once` and `submit`."""
    request = fingerprint(route, body.model_dump_json())
    job = database.transact(
        lambda session: once(session, principal.project_id, key, request, partial(submit, session), Job)
    )
    response.headers["Location"] = job.links.self
    return job
