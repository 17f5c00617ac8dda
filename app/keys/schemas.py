"""Request and response bodies of keys. Every field is present, null if empty."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.keys.service import Scope
from app.kit.clock import Timestamp
from app.ml.fields import Real

MAX_KEY_NAME = 100
MAX_PROJECT = 200
MAX_SECONDS = 100 * 365 * 86_400

Seconds = Annotated[Real, Field(gt=0, le=MAX_SECONDS)]


class KeyRequest(BaseModel):
    """A new key."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "the reports' key", "scopes": ["read", "predict"], "expires_in": 86400}]
        },
    )

    project: Annotated[str, Field(min_length=1, max_length=MAX_PROJECT)] | None = Field(
        None, description="Id or name of its project, which is made where there is none; null: that of the request."
    )

    name: Annotated[str, Field(min_length=1, max_length=MAX_KEY_NAME, description="Whose it is, or what it is for.")]
    scopes: list[Scope] = Field(["read", "write", "predict"], min_length=1, max_length=4)
    expires_in: Seconds | None = Field(None, description="Seconds until it expires; null: it does not.")


class RotationRequest(BaseModel):
    """How a key is replaced."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap": 3600}]})

    overlap: Annotated[Real, Field(ge=0, le=MAX_SECONDS)] = Field(
        3600, description="Seconds for which the old key stays valid, so that everybody can change to the new one."
    )
    expires_in: Seconds | None = Field(None, description="Seconds until the new key expires; null: it does not.")


class ApiKey(BaseModel):
    """A key without its secret; a key that is revoked or expired opens nothing within 5 seconds."""

    id: str
    object: Literal["key"] = "key"
    name: str
    scopes: list[Scope]
    created_at: Timestamp
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    last_used_at: Timestamp | None = Field(description="Its last use, up to a minute or so late.")


class NewApiKey(ApiKey):
    """A key that was just made."""

    secret: str = Field(description="What to send as `Authorization: Bearer`; it is shown this once.")


class KeyList(BaseModel):
    """The keys of a project, newest first."""

    object: Literal["list"] = "list"
    data: list[ApiKey]
