"""The kinds of job. A new one is a file here, which is imported and joins the union, and a file in `worker.jobs`.

What every kind says of itself is in `app.jobs.interface`.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from app.jobs.interface import JobKind, kinds_of
from app.jobs.kinds.any_training import AnyTraining as AnyTraining
from app.jobs.kinds.any_training import learning_config as learning_config
from app.jobs.kinds.batch_prediction import BatchPredictionRequest
from app.jobs.kinds.estimate import EstimateRequest
from app.jobs.kinds.evaluation import EvaluationRequest
from app.jobs.kinds.export import ExportRequest
from app.jobs.kinds.fine_tuning import FineTuningRequest
from app.jobs.kinds.preparation import Preparation
from app.jobs.kinds.pretraining import PretrainingRequest
from app.jobs.kinds.recommendation import RecommendationJobRequest
from app.jobs.kinds.sweep import SweepRequest

# What POST /v1/jobs takes. A preparation is asked for by POST /v1/datasets alone: its dataset must be uploaded first.
JobRequest = Annotated[
    PretrainingRequest
    | FineTuningRequest
    | SweepRequest
    | EvaluationRequest
    | RecommendationJobRequest
    | BatchPredictionRequest
    | ExportRequest
    | EstimateRequest,
    Field(discriminator="kind"),
]

KINDS: dict[str, type[JobKind]] = {"preparation": Preparation, **kinds_of(JobRequest)}

if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(KINDS)]  # so that OpenAPI lists them
