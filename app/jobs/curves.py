"""The curves of a job: those of its heads are an artifact, that of its learning is what was measured while it ran."""

from typing import Literal
from urllib.parse import urlencode

from pydantic import BaseModel, TypeAdapter

from app.artifacts import fetch_blob
from app.dependencies import Services
from app.errors import NotFoundError
from app.jobs import repository, service
from app.ml.evaluation.curve import Curve, CurveKind
from app.ml.evaluation.curve_builders import learning

FILE = "curves.json"
CURVES = TypeAdapter(list[Curve])
_MAX_POINTS = 100_000


class CurveEntry(BaseModel):
    """One curve that a job has."""

    kind: CurveKind
    head: str | None
    links: dict[str, str]


class CurveList(BaseModel):
    """The curves of a job: first that of its learning, then those of its heads."""

    object: Literal["list"] = "list"
    data: list[CurveEntry]
    has_more: Literal[False] = False


def index(state: Services, project_id: str, job_id: str) -> CurveList:
    """List the curves of a job."""
    return CurveList(data=[_entry(job_id, curve) for curve in _all(state, project_id, job_id)])


def get(state: Services, project_id: str, job_id: str, kind: CurveKind, head: str | None) -> Curve:
    """Return one curve; where only one head has such a curve, it need not be named.

    Raises:
        NotFoundError: the job has no such curve, or several.
    """
    of_kind = [curve for curve in _all(state, project_id, job_id) if curve.kind == kind]
    matches = [curve for curve in of_kind if head is None or curve.head == head]
    if len(matches) == 1:
        return matches[0]
    if matches:
        heads = ", ".join(repr(curve.head) for curve in matches)
        msg = f"Several heads have such a curve: say head, one of {heads}."
    else:
        msg = "The job has no such curve (yet); its curves are listed at /v1/jobs/{id}/curves."
    raise NotFoundError(msg, code="curve_not_found")


def _all(state: Services, project_id: str, job_id: str) -> list[Curve]:
    """The transaction ends before the artifact is read."""
    with state.database.reading() as session:
        row = service.find(session, project_id, job_id)
        measured = repository.metrics(session, job_id, -1, _MAX_POINTS)
        first = learning([(point.step, point.values) for point in measured])
    kept = (row.files or {}).get(FILE)
    if kept is None:
        return [first]
    return [first, *CURVES.validate_json(fetch_blob(state.artifacts, kept["sha256"]).read_bytes())]


def _entry(job_id: str, curve: Curve) -> CurveEntry:
    which = {} if curve.head is None else {"head": curve.head}
    base = f"/v1/jobs/{job_id}/curves/{curve.kind}"
    links = {form: f"{base}?{urlencode({**which, 'format': form})}" for form in ("json", "png", "svg")}
    return CurveEntry(kind=curve.kind, head=curve.head, links=links)
