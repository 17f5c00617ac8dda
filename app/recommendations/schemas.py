"""What a recommendation's row keeps."""

from pydantic import Field

from app.jobs.interface import Resources
from app.ml.spec import Frozen


class Candidate(Frozen):
    """A backbone, named after one of the models that have it."""

    model: str
    name: str
    version: int
    shared_by: tuple[str, ...] = Field((), description="Other models with the very same weights.")


class Misfit(Frozen):
    """A model that is not ranked, and why."""

    model: str
    name: str
    version: int
    reason: str


class RecommendationConfig(Frozen):
    """What a recommendation's row keeps: the request with every name settled."""

    target: str
    rows: int
    candidates: tuple[Candidate, ...]
    misfits: tuple[Misfit, ...]
    resources: Resources
