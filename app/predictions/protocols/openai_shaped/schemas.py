"""Request and response bodies in OpenAI's shape. Every field of a request is honoured or refused by its name."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from app.ml.fields import Integer, Real
from app.ml.spec import WarningItem
from app.models.refs import MAX_REF
from app.predictions.schemas import MAX_INPUTS, MAX_PROMPTS, Timeout

Reference = Annotated[str, Field(min_length=1, max_length=MAX_REF)]
_TIMEOUT = "Our own addition, by extra_body of OpenAI's client: seconds that the answer may take."


def _texts(value: Any) -> Any:
    """Return one text as a list. Raises ValueError for codes of tokens."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and any(isinstance(item, int | list) for item in value):
        msg = "send texts: token codes of another tokenizer mean nothing to this model"
        raise ValueError(msg)
    return value


Texts = Annotated[list[str], BeforeValidator(_texts, json_schema_input_type=str | list[str])]


class EmbeddingsRequest(BaseModel):
    """Texts to embed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"model": "comment-writer", "input": ["the parcel was late", "a friendly reply"]}]
        },
    )

    model: Reference
    input: Annotated[Texts, Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = Field(
        "float", description="base64: of little-endian float32, which takes less room."
    )
    dimensions: Integer | None = Field(None, description="The backbone's number of features, or nothing.")
    user: str | None = Field(None, description="Not used.")
    timeout: Timeout | None = Field(None, description=_TIMEOUT)


class StreamOptions(BaseModel):
    """How completions are streamed."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = Field(default=False, description="Whether the tokens are counted in a last event.")


# What these fields say does not exist here, unless it is one of these values, which ask for nothing.
_NEUTRAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "suffix": ((None, ""), "the models write on, and fill no gaps: leave it out"),
    "logprobs": ((None,), "the log-probability of a whole continuation is in POST /v1/models/{ref}/generations"),
    "logit_bias": ((None, {}), "no token can be favoured: leave it out"),
    "frequency_penalty": ((None, 0), "repetitions are not punished: leave it out or send 0"),
    "presence_penalty": ((None, 0), "repetitions are not punished: leave it out or send 0"),
}


class CompletionsRequest(BaseModel):
    """Texts to continue, with OpenAI's defaults: sampling at temperature 1, and 16 tokens."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"model": "comment-writer", "prompt": "the parcel", "max_tokens": 8, "temperature": 0}]
        },
    )

    model: Reference
    prompt: Annotated[Texts, Field(min_length=1, max_length=MAX_PROMPTS)]
    max_tokens: Annotated[Integer, Field(ge=1, le=4096)] | None = Field(16, description="Null: 16.")
    temperature: Annotated[Real, Field(ge=0, le=2)] | None = Field(1, description="0: no sampling; null: 1.")
    top_p: Annotated[Real, Field(gt=0, le=1)] | None = Field(1, description="Nucleus sampling; 1 or null: all tokens.")
    n: Annotated[Integer, Field(ge=1, le=32)] | None = Field(1, description="Completions of each prompt.")
    best_of: Annotated[Integer, Field(ge=1, le=32)] | None = Field(
        None, description="Draw so many, and answer the n with the greatest log-probability a token."
    )
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=16)] | None = Field(
        None, description="Strings before which a completion ends."
    )
    seed: Annotated[Integer, Field(ge=0, le=2**63 - 1)] | None = Field(None, description="Null: another each time.")
    echo: bool | None = Field(default=False, description="Whether completions begin with their prompt.")
    stream: bool | None = Field(default=False, description="Whether completions are sent as they grow.")
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Not used.")
    timeout: Timeout | None = Field(None, description=_TIMEOUT)
    suffix: Any = Field(None, description="Not supported.")
    logprobs: Any = Field(None, description="Not supported.")
    logit_bias: Any = Field(None, description="Not supported.")
    frequency_penalty: Any = Field(None, description="Not supported, unless 0.")
    presence_penalty: Any = Field(None, description="Not supported, unless 0.")

    @model_validator(mode="before")
    @classmethod
    def _one_stop(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("stop"), str):
            return {**values, "stop": [values["stop"]]}
        return values

    @field_validator(*_NEUTRAL)
    @classmethod
    def _is_neutral(cls, value: Any, info: ValidationInfo) -> Any:
        neutral, reason = _NEUTRAL[str(info.field_name)]
        if value not in neutral:
            msg = f"not supported: {reason}"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        drawn, n = self.best_of or self.n or 1, self.n or 1
        if drawn < n:
            msg = "best_of is the number that is drawn, n of which are answered: it is not below n"
            raise ValueError(msg)
        if self.stream and drawn > n:
            msg = "best_of cannot be streamed: the best are known at the end"
            raise ValueError(msg)
        if self.temperature == 0 and drawn > 1:
            msg = "at temperature 0 all completions of a prompt are the same: leave out n and best_of"
            raise ValueError(msg)
        if self.stream_options is not None and not self.stream:
            msg = "stream_options need stream: true"
            raise ValueError(msg)
        return self


class TokenUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class CompletionUsage(TokenUsage):
    """Tokens that were read, and written."""

    completion_tokens: int


class Embedding(BaseModel):
    """The embedding of one text, as numbers or as float32 in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingList(BaseModel):
    """One embedding per text, in order; `model` names the version, and `warnings` are our own addition."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: TokenUsage
    warnings: list[WarningItem] = []


class CompletionChoice(BaseModel):
    """A completion; those of the first prompt come first. `finish_reason` is null until it is known."""

    index: int
    text: str
    logprobs: None = None
    finish_reason: Literal["stop", "length"] | None


class Completion(BaseModel):
    """Completions, or what they have grown by; `model` names the version, and `warnings` are our own addition."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | None = None
    warnings: list[WarningItem] = []


class ListedModel(BaseModel):
    """A reference to a model; `modality` is our own addition: texts alone are embedded and continued here."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["graftwork"] = "graftwork"
    modality: str


class ModelList(BaseModel):
    """Every name (its newest version) and alias."""

    object: Literal["list"] = "list"
    data: list[ListedModel]
