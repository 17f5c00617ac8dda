"""Request and response bodies of webhooks. Every field is present, null if empty."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.kit.clock import Timestamp
from app.ml.fields import Real
from app.webhooks.addresses import MAX_URL, RefusedAddressError, parse
from app.webhooks.event_types import known

MAX_EVENTS = 100
MAX_NAME = 100
MAX_OVERLAP_SECONDS = 30 * 86_400
Status = Literal["pending", "delivered", "dead"]


def _parsed(url: str) -> str:
    try:
        parse(url)
    except RefusedAddressError as error:
        raise ValueError(str(error)) from None
    return url


Url = Annotated[str, Field(max_length=MAX_URL), AfterValidator(_parsed)]
Pattern = Annotated[str, Field(max_length=100), AfterValidator(known)]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=MAX_EVENTS)]
WebhookName = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
_URL_TEXT = "Where messages are sent by POST; https, without user name, password and #."
_EVENTS_TEXT = "Types of events (job.succeeded), or patterns of them: job.* or *."


class WebhookRequest(BaseModel):
    """A new webhook."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "url": "https://chat.example.com/hooks/graftwork",
                    "events": ["job.*", "dataset.ready"],
                    "name": "chat",
                }
            ]
        },
    )

    url: Url = Field(description=_URL_TEXT)
    events: Patterns = Field(description=_EVENTS_TEXT)
    name: WebhookName | None = Field(None, description="What it is for.")


class WebhookChange(BaseModel):
    """What is to change of a webhook; fields that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"events": ["job.failed"]}]})

    url: Url | None = Field(None, description=_URL_TEXT)
    events: Patterns | None = Field(None, description=_EVENTS_TEXT)
    name: WebhookName | None = Field(None, description="What it is for; null: it has no name.")
    enabled: bool | None = Field(
        None, description="false: nothing is sent to it, and no message is kept for it; true: from now on again."
    )

    @model_validator(mode="after")
    def _not_null(self) -> Self:
        for name in sorted(self.model_fields_set - {"name"}):
            if getattr(self, name) is None:
                msg = f"{name} cannot be null: leave it out where it is to stay as it is"
                raise ValueError(msg)
        return self


class SecretRequest(BaseModel):
    """How the secret of a webhook is replaced."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap": 3600}]})

    overlap: Annotated[Real, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = Field(
        86_400, description="Seconds for which earlier secrets sign, too; 0: they never sign again."
    )


class Webhook(BaseModel):
    """A webhook without its secret."""

    id: str
    object: Literal["webhook"] = "webhook"
    name: str | None
    url: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None = Field(description="Why it is disabled; null while it is enabled.")
    disabled_at: Timestamp | None
    failing_since: Timestamp | None = Field(
        description="When its attempts began to fail; null: the last one went well."
    )
    old_secrets_until: Timestamp | None = Field(description="Until when earlier secrets sign, too; null: none does.")
    created_at: Timestamp


class NewWebhook(Webhook):
    """A webhook with a secret that was just made."""

    secret: str = Field(description="What signs its messages, `whsec_...`; it is shown this once.")


class WebhookTest(BaseModel):
    """What a receiver said to a message of type `webhook.test`."""

    object: Literal["webhook_test"] = "webhook_test"
    id: str = Field(description="The message's webhook-id.")
    delivered: bool = Field(description="Whether it answered 2xx.")
    status: int | None = Field(description="The HTTP status of its answer; null: there was none.")
    error: str | None = Field(description="What went wrong; null: nothing.")
    seconds: float


class WebhookDelivery(BaseModel):
    """One message to a webhook; it is sent again and again until it is delivered or dead."""

    id: str = Field(description="The message's webhook-id, the same at each attempt.")
    object: Literal["webhook_delivery"] = "webhook_delivery"
    type: str
    status: Status
    attempts: int = Field(description="Made since it was queued, or asked to be delivered again.")
    last_attempt_at: Timestamp | None
    last_status: int | None = Field(description="The HTTP status of the last answer; null: there was none.")
    last_error: str | None
    next_attempt_at: Timestamp | None = Field(description="Of a pending one: the earliest time of its next attempt.")
    created_at: Timestamp
    ended_at: Timestamp | None
    payload: dict[str, Any] = Field(description="What is sent.")
