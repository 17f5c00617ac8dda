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
_LEARNING: tuple[CurveKind, None] = ("learning", None)


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
    of_heads = [(curve.kind, curve.head) for curve in _of_heads(state, project_id, job_id)]
    return CurveList(data=[_entry(job_id, kind, head) for kind, head in (_LEARNING, *of_heads)])


def get(state: Services, project_id: str, job_id: str, kind: CurveKind, head: str | None) -> Curve:
    """Return one curve; where only one head has such a curve, it need not be named.

    Raises:
        NotFoundError: the job has no such curve, or several.
    """
    if (kind, head) == _LEARNING:
        with state.database.reading() as session:
            row = service.find(session, project_id, job_id)
            if service.are_measurements_removed(session, row):
                msg = "Its measurements are kept no more: the job ended longer than GRAFTWORK_METRIC_DAYS ago."
                raise NotFoundError(msg, code="measurements_removed")
            return learning(repository.measurements(session, job_id))
    of_kind = [curve for curve in _of_heads(state, project_id, job_id) if curve.kind == kind]
    matches = [curve for curve in of_kind if head is None or curve.head == head]
    if len(matches) == 1:
        return matches[0]
    if matches:
        heads = ", ".join(repr(curve.head) for curve in matches)
        msg = f"Several heads have such a curve: say head, one of {heads}."
    else:
        msg = "The job has no such curve (yet); its curves are listed at /v1/jobs/{id}/curves."
    raise NotFoundError(msg, code="curve_not_found")


def _of_heads(state: Services, project_id: str, job_id: str) -> list[Curve]:
    """The transaction ends before the artifact is read."""
    with state.database.reading() as session:
        row = service.find(session, project_id, job_id)
    kept = (row.files or {}).get(FILE)
    return [] if kept is None else CURVES.validate_json(fetch_blob(state.artifacts, kept["sha256"]).read_bytes())


def _entry(job_id: str, kind: CurveKind, head: str | None) -> CurveEntry:
    which = {} if head is None else {"head": head}
    base = f"/v1/jobs/{job_id}/curves/{kind}"
    links = {form: f"{base}?{urlencode({**which, 'format': form})}" for form in ("json", "png", "svg")}
    return CurveEntry(kind=kind, head=head, links=links)
