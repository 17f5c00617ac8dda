"""Request and response bodies of tracking."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from app.ml.spec import Frozen, WarningItem
from app.tracking.mlflow_run import MAX_EXPERIMENT
from app.webhooks.addresses import MAX_URL

Secret = Annotated[SecretStr, Field(min_length=1, max_length=4096)]


class MlflowRequest(Frozen):
    """Which MLflow tracking server a job is written to."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://mlflow.example", "experiment": "flowers"}]}
    )

    url: Annotated[str, Field(min_length=1, max_length=MAX_URL)] | None = Field(
        None,
        description="Of the server, without /api; null: the one that GRAFTWORK_MLFLOW_URL names. It must be public and "
        "https, unless GRAFTWORK_WEBHOOK_NETWORKS and GRAFTWORK_WEBHOOK_HTTP allow more.",
    )
    experiment: Annotated[str, Field(min_length=1, max_length=MAX_EXPERIMENT)] | None = Field(
        None, description="Name of the experiment, made where there is none; null: GRAFTWORK_MLFLOW_EXPERIMENT."
    )
    token: Secret | None = Field(None, description="Sent to this URL as a bearer token; it is not kept.")
    username: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="Sent to this URL with the password; it is not kept."
    )
    password: Secret | None = Field(None, description="Sent to this URL with the user name; it is not kept.")

    @model_validator(mode="after")
    def _credentials_are_of_the_url(self) -> Self:
        named = self.token is not None, self.username is not None
        if self.url is None and any(named):
            msg = "token, username and password are for the server at url: give the url, too, or none of them"
            raise ValueError(msg)
        if all(named) or (self.username is None) != (self.password is None):
            msg = "give a token, or username and password, or none of them"
            raise ValueError(msg)
        if self.url is not None and "@" in self.url.partition("://")[2].partition("/")[0]:
            msg = "url: leave out user name and password, and give them as username and password"
            raise ValueError(msg)
        return self


class MlflowRun(BaseModel):
    """The run that a job has become."""

    object: Literal["mlflow_run"] = "mlflow_run"
    job: str
    experiment: str = Field(description="Id of the experiment in MLflow.")
    run: str = Field(description="Id of the run in MLflow.")
    url: str = Field(description="Of the run's page there.")
    created: bool = Field(description="False: the job had this run already, which was completed.")
    metrics: int = Field(description="How many values of metrics were sent.")
    parameters: int = Field(description="How many parameters were sent; those that the run had are not sent again.")
    warnings: list[WarningItem] = Field(description="What MLflow has in another form.")
