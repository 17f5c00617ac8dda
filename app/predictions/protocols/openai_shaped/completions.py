"""Completions: our generations in OpenAI's shape, at once or as they grow."""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fastapi.sse import format_sse_event
from pydantic_core import to_json

from app.errors import problem_on_the_way
from app.kit.ids import new_id
from app.predictions.protocols.openai_shaped.errors import body_of
from app.predictions.protocols.openai_shaped.schemas import (
    Completion,
    CompletionChoice,
    CompletionsRequest,
    CompletionUsage,
)
from app.predictions.schemas import Continuation, Generations, Prompts
from app.predictions.service import Generating

_DEFAULT_MAX_TOKENS, _DEFAULT_TEMPERATURE = 16, 1.0
_DONE = b"data: [DONE]\n\n"


def prompts_of(request: CompletionsRequest) -> Prompts:
    """Return a request as our own generations have it."""
    temperature = _DEFAULT_TEMPERATURE if request.temperature is None else request.temperature
    return Prompts(
        inputs=request.prompt,
        max_tokens=request.max_tokens or _DEFAULT_MAX_TOKENS,
        temperature=temperature,
        top_p=request.top_p if temperature > 0 and request.top_p != 1 else None,  # without chance it changes nothing
        n=request.best_of or request.n or 1,
        seed=secrets.randbelow(2**63) if request.seed is None else request.seed,
        stop=request.stop or [],
    )


@dataclass(frozen=True)
class Completions:
    """A request's completions: how its generation is written."""

    request: CompletionsRequest
    generating: Generating
    id: str = field(default_factory=lambda: new_id("cmpl"))
    created: int = field(default_factory=lambda: int(time.time()))

    def answer(self, generations: Generations) -> Completion:
        """Return the answer at once."""
        answer = self._completion(self._choices(generations, whole=True))
        answer.usage, answer.warnings = self._usage(generations), generations.warnings
        return answer

    def lines(self, request_id: str | None) -> Iterator[bytes]:
        """Yield the wire form of what the completions grow by; stopping to ask for it stops the computing."""
        prompts = enumerate(self.request.prompt if self.request.echo else ())
        n = self.request.n or 1
        for prompt, text in prompts:
            yield from (self._line([_grown(prompt * n + index, text)]) for index in range(n))
        steps = self.generating.steps
        try:
            while True:
                for piece in next(steps):
                    yield self._line([_grown(piece.prompt * n + piece.continuation, piece.text)])
        except StopIteration as end:
            yield from self._last_lines(end.value)
        except Exception as error:  # noqa: BLE001 - the answer has begun, and its status is sent
            yield format_sse_event(data_str=to_json(body_of(problem_on_the_way(error, request_id))).decode())

    def _last_lines(self, generations: Generations) -> Iterator[bytes]:
        last = self._completion(self._choices(generations, whole=False))
        last.warnings = generations.warnings
        yield _event(last)
        if self.request.stream_options is not None and self.request.stream_options.include_usage:
            counted = self._completion([])
            counted.usage = self._usage(generations)
            yield _event(counted)
        yield _DONE

    def _line(self, choices: Sequence[CompletionChoice]) -> bytes:
        return _event(self._completion(choices))

    def _completion(self, choices: Sequence[CompletionChoice]) -> Completion:
        model = self.generating.model
        return Completion(
            id=self.id, created=self.created, model=f"{model.name}@{model.version}", choices=list(choices)
        )

    def _choices(self, generations: Generations, *, whole: bool) -> list[CompletionChoice]:
        """Return how every completion ended, with its text where it is `whole`."""
        n = self.request.n or 1
        choices: list[CompletionChoice] = []
        for prompt, generation in zip(self.request.prompt, generations.generations, strict=True):
            before = prompt if self.request.echo else ""
            for continuation in _best(generation.continuations, n):
                text = before + continuation.text if whole else ""
                choices.append(CompletionChoice(index=len(choices), text=text, finish_reason=_reason(continuation)))
        return choices

    def _usage(self, generations: Generations) -> CompletionUsage:
        read = sum(self.generating.prompt_tokens)
        written = sum(item.tokens for generation in generations.generations for item in generation.continuations)
        return CompletionUsage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def _grown(index: int, text: str) -> CompletionChoice:
    return CompletionChoice(index=index, text=text, finish_reason=None)


def _best(continuations: Sequence[Continuation], n: int) -> Sequence[Continuation]:
    """Return the n with the greatest log-probability a token, or all where there are no more."""
    if len(continuations) == n:
        return continuations
    return sorted(continuations, key=lambda item: -item.log_probability / max(1, item.tokens))[:n]


def _reason(continuation: Continuation) -> Literal["stop", "length"]:
    """Return why a completion ended; one that took too long is cut off like one that is too long."""
    return "stop" if continuation.finish in ("end", "stop") else "length"


def _event(completion: Completion) -> bytes:
    return format_sse_event(data_str=completion.model_dump_json())
