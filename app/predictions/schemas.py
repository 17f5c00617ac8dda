"""What the prediction endpoints take and answer."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.ml.configs.fields import Integer, Real

MAX_INPUTS = 4096
MAX_PROMPTS = 256
MAX_TOKENS = 32_768  # generated in one request


class Inputs(BaseModel):
    """Rows to answer, in the form of the model's modality: lists, objects by column, or images in base64."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[list[Any], Field(min_length=1, max_length=MAX_INPUTS)]


class Prompts(BaseModel):
    """Texts to continue, and how. With neither temperature nor beams, every next token is the most probable one."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[list[Any], Field(min_length=1, max_length=MAX_PROMPTS)]
    max_tokens: Integer = Field(64, ge=1, le=4096, description="Most tokens to say.")
    temperature: Real = Field(0, ge=0, le=100, description="Above 0 tokens are drawn; 1 draws as the model says.")
    top_k: Annotated[Integer, Field(ge=1, le=100_000)] | None = Field(
        None, description="Draw from so many of the most probable tokens; null: from all."
    )
    top_p: Annotated[Real, Field(gt=0, le=1)] | None = Field(
        None, description="Draw from the fewest tokens that hold this share of the probability; null: from all."
    )
    beams: Integer = Field(1, ge=1, le=32, description="Above 1 the most probable continuation is searched for.")
    n: Integer = Field(1, ge=1, le=32, description="Continuations of every text.")
    seed: Integer = Field(0, ge=0, le=2**63 - 1, description="Equal seeds draw equal tokens.")
    stop: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        [], max_length=16, description="End before any of these strings."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        draws = self.temperature > 0
        if self.beams > 1 and draws:
            msg = "beams search for the most probable, and a temperature draws at random: choose one of them"
            raise ValueError(msg)
        if not draws and (self.top_k is not None or self.top_p is not None):
            msg = "top_k and top_p choose what is drawn from: give a temperature above 0 too"
            raise ValueError(msg)
        if not draws and self.n > self.beams:
            msg = f"without chance there is one continuation for every beam: give a temperature, or {self.n} beams"
            raise ValueError(msg)
        tokens = len(self.inputs) * max(self.n, self.beams) * self.max_tokens
        if tokens > MAX_TOKENS:
            msg = f"inputs x n (or beams) x max_tokens are {tokens} tokens; at most {MAX_TOKENS} in one request"
            raise ValueError(msg)
        return self


class Continuation(BaseModel):
    """What follows a text, its tokens and their log-probability in nats, and why it ends: end, stop, length or time."""

    text: str
    tokens: int
    log_probability: float
    finish: Literal["end", "stop", "length", "time"]


class Generation(BaseModel):
    """A text's continuations. `truncated`: the model has read the text's end alone, since it sees no more at once."""

    truncated: bool
    continuations: list[Continuation]


class ModelName(BaseModel):
    """Which model has answered."""

    id: str
    name: str
    version: int


class Predictions(BaseModel):
    """One prediction per input, in order; in each one key per head."""

    model: ModelName
    predictions: list[dict[str, Any]]


class Generations(BaseModel):
    """One generation per input, in order."""

    model: ModelName
    generations: list[Generation]


class Embeddings(BaseModel):
    """One embedding per input, in order."""

    model: ModelName
    embeddings: list[list[float]]
