"""How a text is continued, and the continuations; no torch, so that schemas stay light."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Result = TypeVar("Result")
Finish = Literal["end", "stop", "length", "time"]


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """How to continue a text. Temperature 0 takes the most probable token every time, or searches with `beams`."""

    max_tokens: int = 64
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    beams: int = 1
    n: int = 1
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What one continuation of one text has grown by; `prompt` and `continuation` count from 0."""

    prompt: int
    continuation: int
    text: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """What follows a text, and why it ends there.

    end: the model ended the text; stop: a stop string came, which is left out; length: `max_tokens` were generated;
    time: the request took too long. `log_probability`: of all generated tokens, in nats, at temperature 1.
    """

    text: str
    tokens: int
    log_probability: float
    finish: Finish


@dataclass(frozen=True, slots=True)
class Continuations:
    """The continuations of one text, the most probable first where beams were searched.

    `truncated`: the text is longer than the model can see, and only its end was read.
    """

    truncated: bool
    continuations: tuple[Continuation, ...]


Generating = Generator[list[Piece], None, list[Continuations]]
"""Yields after every token what continuations have grown by, and returns them."""


def result_of(steps: Generator[Any, None, Result]) -> Result:
    """Take all steps of a generator, and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
