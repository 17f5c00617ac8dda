"""All trainings: what a sweep searches and an estimate measures. A new kind of training joins this union, too."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from app.errors import UnprocessableError
from app.jobs.interface import kinds_of
from app.jobs.kinds.fine_tuning import FineTuningRequest
from app.jobs.kinds.pretraining import PretrainingRequest
from app.jobs.kinds.trainings import ResolvedConfig, TrainingRequest

AnyTraining = Annotated[PretrainingRequest | FineTuningRequest, Field(discriminator="kind")]
TRAININGS: dict[str, type[TrainingRequest]] = kinds_of(AnyTraining)


def learning_config(kind: str, config: Mapping[str, Any]) -> ResolvedConfig:
    """Return the learning half of the stored config of a job of this kind."""
    return TRAININGS[kind].learning_config(config)


def located_in_base(error: UnprocessableError) -> UnprocessableError:
    """Return the same refusal of a training that is the `base` of the request."""
    errors = [item.model_copy(update={"loc": ["body", "base", *item.loc[1:]]}) for item in error.errors]
    msg = f"base.{error.detail}"
    return UnprocessableError(msg, code=error.code, errors=errors)
