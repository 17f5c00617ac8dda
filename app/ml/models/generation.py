"""Continuing a text token by token, in as many ways as asked for at once.

greedy       the most probable token every time
sampling     from softmax(logits / temperature), of the top_k most probable tokens, of the fewest that hold top_p of the
             probability (Holtzman et al., "The curious case of neural text degeneration", 2020)
beam search  the `beams` most probable beginnings are kept in every step; ranked by the probability of the whole

A model sees at most T codes: a longer text is read on from its last T / 2.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.ml.configs.generation import Continuation, Finish, GenerationConfig
from app.ml.interfaces import Head
from app.ml.interfaces.abilities import Sequences, State
from app.ml.kinds.tokenizers.base import END, FIRST, Tokenizer


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """What continues texts, in eval mode; `window` is T, `ends` says whether it knows where a text ends."""

    backbone: Sequences
    head: Head  # features of every step (B, T, F) to logits (B, T, V)
    tokenizer: Tokenizer
    window: int
    ends: bool


@torch.inference_mode()
def continued(
    model: LanguageModel, prompt: Sequence[int], config: GenerationConfig, deadline: float
) -> tuple[Continuation, ...]:
    """Continue the codes of one text, at least one; `deadline` is in seconds of time.monotonic()."""
    if config.beams > 1:
        return _search(model, prompt, config, deadline)
    return _sample(model, prompt, config, deadline)


def narrowed(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits (B, V) with -inf outside the top_k, and outside the fewest tokens that hold top_p of the probability."""
    if top_k is not None and top_k < logits.shape[1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None:
        ranked, order = logits.sort(dim=1, descending=True, stable=True)
        shares = ranked.softmax(1)
        beyond = shares.cumsum(1) - shares >= top_p  # the first that reaches it still counts
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), -torch.inf)
    return logits


@dataclass(slots=True)
class _Draft:
    """A continuation as it grows."""

    codes: list[int] = field(default_factory=list)
    score: float = 0.0
    finish: Finish | None = None

    def grown(self, code: int, score: float, model: LanguageModel, stops: tuple[str, ...]) -> "_Draft":
        """With one token more, finished where that ends it."""
        if code == END:
            return _Draft([*self.codes, code], score, "end")
        draft = _Draft([*self.codes, code], score)
        if stops and _cut(model.tokenizer.decode(draft.codes), stops) is not None:
            draft.finish = "stop"
        return draft

    def told(self, model: LanguageModel, stops: tuple[str, ...], otherwise: Finish) -> Continuation:
        """As it is answered."""
        text = model.tokenizer.decode(self.codes)
        if self.finish == "stop":
            text = text[: _cut(text, stops)]
        return Continuation(text, len(self.codes), self.score, self.finish or otherwise)


def _cut(text: str, stops: tuple[str, ...]) -> int | None:
    """Where the first stop string begins."""
    found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return min(found, default=None)


class _Reading:
    """Texts (B, S) of equal length as the backbone has read them; gives what may come next."""

    def __init__(self, model: LanguageModel, prompt: Sequence[int]) -> None:
        self._model = model
        self._codes = torch.tensor([list(prompt)[-model.window :]])
        self._state: State = []
        self._logits = self._read(self._codes)

    def log_probabilities(self) -> Tensor:
        """Of each token to come next, float64 (B, V); -inf for what is no token of a text."""
        logits = self._logits.double()
        logits[:, :FIRST] = -torch.inf if not self._model.ends else _only_end(logits)
        return logits.log_softmax(1)

    def go_on(self, rows: Tensor, chosen: Tensor) -> None:
        """Row b becomes what row rows[b] was, followed by the token chosen[b]."""
        self._codes = torch.cat((self._codes[rows], chosen[:, None]), dim=1)
        self._state = [part[rows] for part in self._state]
        new = chosen[:, None]
        if self._codes.shape[1] > self._model.window:
            self._codes = self._codes[:, -max(1, self._model.window // 2) :]
            self._state, new = [], self._codes
        self._logits = self._read(new)

    def _read(self, codes: Tensor) -> Tensor:
        features, self._state = self._model.backbone.advance(codes, self._state)
        return self._model.head(features[:, -1])  # type: ignore[no-any-return]


def _only_end(logits: Tensor) -> Tensor:
    """The logits of the codes below FIRST, of which a text may only hold its end."""
    special = torch.full_like(logits[:, :FIRST], -torch.inf)
    special[:, END] = logits[:, END]
    return special


def _sample(
    model: LanguageModel, prompt: Sequence[int], config: GenerationConfig, deadline: float
) -> tuple[Continuation, ...]:
    generator = torch.Generator().manual_seed(config.seed)
    drafts = [_Draft() for _ in range(config.n)]
    reading = _Reading(model, prompt)
    rows, late = torch.zeros(config.n, dtype=torch.int64), False
    for _ in range(config.max_tokens):
        known = reading.log_probabilities()[rows]
        chosen = _drawn(known, config, generator)
        scores = known.gather(1, chosen[:, None])[:, 0].tolist()
        for index, (draft, code, score) in enumerate(zip(drafts, chosen.tolist(), scores, strict=True)):
            if draft.finish is None:
                drafts[index] = draft.grown(code, draft.score + score, model, config.stop)
        late = time.monotonic() > deadline
        if late or all(draft.finish for draft in drafts):
            break
        reading.go_on(rows, chosen)
        rows = torch.arange(config.n)
    return tuple(draft.told(model, config.stop, "time" if late else "length") for draft in drafts)


def _drawn(known: Tensor, config: GenerationConfig, generator: torch.Generator) -> Tensor:
    """Tokens (B,) by their log-probabilities (B, V)."""
    if config.temperature == 0:
        return known.argmax(1)
    shares = narrowed(known / config.temperature, config.top_k, config.top_p).softmax(1)
    return torch.multinomial(shares, 1, generator=generator)[:, 0]


def _search(
    model: LanguageModel, prompt: Sequence[int], config: GenerationConfig, deadline: float
) -> tuple[Continuation, ...]:
    alive, ended = [_Draft()], list[_Draft]()
    reading, late = _Reading(model, prompt), False
    for _ in range(config.max_tokens):
        grown = _best(reading, alive, config, model)
        ended = _ranked([*ended, *(draft for _, draft in grown if draft.finish)])[: config.n]
        going = [(row, draft) for row, draft in grown if not draft.finish][: config.beams]
        alive = [draft for _, draft in going]
        late = time.monotonic() > deadline
        # A probability only falls: once n ended ones are better than all that go on, nothing changes any more.
        if late or not alive or (len(ended) == config.n and ended[-1].score >= alive[0].score):
            break
        last = torch.tensor([draft.codes[-1] for draft in alive])
        reading.go_on(torch.tensor([row for row, _ in going]), last)
    best = _ranked([*ended, *alive])[: config.n]
    return tuple(draft.told(model, config.stop, "time" if late else "length") for draft in best)


def _best(
    reading: _Reading, alive: list[_Draft], config: GenerationConfig, model: LanguageModel
) -> list[tuple[int, _Draft]]:
    """The most probable drafts with one token more, and from which row each grew; half of them at most can end."""
    known = reading.log_probabilities()
    totals = known + torch.tensor([draft.score for draft in alive], dtype=known.dtype)[:, None]
    scores, places = totals.flatten().topk(min(2 * config.beams, totals.numel()))
    found = []
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        row, code = divmod(place, known.shape[1])
        if score > -torch.inf:
            found.append((row, alive[row].grown(code, score, model, config.stop)))
    return found


def _ranked(drafts: list[_Draft]) -> list[_Draft]:
    return sorted(drafts, key=lambda draft: -draft.score)
