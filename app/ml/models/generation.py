"""Generation: a language model continues a text token by token, `n` continuations at once.

greedy       the most probable token every time
sampling     from softmax(logits / temperature), of the top_k most probable tokens, of the fewest that hold top_p of the
             probability (Holtzman et al., "The curious case of neural text degeneration", 2020)
beam search  the `beams` most probable beginnings are kept in every step; ranked by the probability of the whole

Probabilities of tokens are kept as logarithms in float64 and added. A model reads at most T codes: of a text that grows
longer only the last T / 2 are read on, so that the state of recurrent and attention layers is computed anew once every
T / 2 tokens and not at every token.
"""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.ml.configs.generation import Continuation, Finish, GenerationConfig, Piece, result_of
from app.ml.interfaces import Head
from app.ml.interfaces.abilities import Sequences, State
from app.ml.interfaces.tokenizer import END, FIRST, Tokenizer
from app.ml.models.growing_text import GrowingText

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A generator's parts in eval mode; `window` is T, `ends` says whether texts were trained with their end marked."""

    backbone: Sequences
    head: Head  # features of every step (B, T, F) to logits (B, T, V)
    tokenizer: Tokenizer
    window: int
    ends: bool
    device: torch.device = CPU  # that backbone and head are on


Steps = Generator[list[Piece], None, tuple[Continuation, ...]]


@torch.inference_mode()
def generation(
    model: LanguageModel,
    prompt: Sequence[int],
    config: GenerationConfig,
    deadline: float,
    *,
    row: int = 0,
    streamed: bool = False,
) -> Steps:
    """Continue the codes of one text, of which there is at least one; `deadline` is in seconds of time.monotonic().

    Yields after every token, and returns the continuations. Where it is `streamed`, it yields what they have grown by,
    as pieces of the text `row`; joined, they are the continuations' texts. A beam search yields no pieces.
    """
    if config.beams > 1:
        return (yield from _search(model, prompt, config, deadline))
    texts = [GrowingText(model.tokenizer, config.stop) for _ in range(config.n if streamed else 0)]
    sampling = _sample(model, prompt, config, deadline)
    while True:
        try:
            drafts = next(sampling)
        except StopIteration as end:
            continuations: tuple[Continuation, ...] = end.value
            rests = [text.end(whole.text) for text, whole in zip(texts, continuations, strict=False)]
            yield _pieces(row, rests)
            return continuations
        yield _pieces(row, [_grown(*pair, model, config.stop) for pair in zip(texts, drafts, strict=False)])


def generate(
    model: LanguageModel, prompt: Sequence[int], config: GenerationConfig, deadline: float
) -> tuple[Continuation, ...]:
    """Continue the codes of one text at once."""
    return result_of(generation(model, prompt, config, deadline))


def filtered(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits (B, V) with -inf outside the top_k, and outside the fewest tokens that hold top_p of the probability."""
    if top_k is not None and top_k < logits.shape[1]:
        threshold = logits.topk(top_k).values[:, -1:]  # (B, 1); all tokens that tie with the last one stay
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    if top_p is not None:
        ranked, order = logits.sort(dim=1, descending=True, stable=True)
        probabilities = ranked.softmax(1)
        # What the better tokens hold together: below top_p the next one still counts, and so the first always does.
        outside = probabilities.cumsum(1) - probabilities >= top_p
        # Back from the order of ranks to that of codes.
        logits = logits.masked_fill(torch.zeros_like(outside).scatter(1, order, outside), -torch.inf)
    return logits


@dataclass(slots=True)
class _Draft:
    """A continuation as it grows; `score` is its log-probability."""

    codes: list[int] = field(default_factory=list)
    score: float = 0.0
    finish: Finish | None = None

    def extended(self, code: int, score: float, model: LanguageModel, stops: tuple[str, ...]) -> "_Draft":
        """Return a draft with one token more and this score, finished where the token ends it."""
        if code == END:
            return _Draft([*self.codes, code], score, "end")
        draft = _Draft([*self.codes, code], score)
        if stops and _stop_index(model.tokenizer.decode(draft.codes), stops) is not None:
            draft.finish = "stop"
        return draft

    def continuation(self, model: LanguageModel, stops: tuple[str, ...], otherwise: Finish) -> Continuation:
        """Return the answer; `otherwise` is why a draft without a finish ends."""
        text = model.tokenizer.decode(self.codes)
        if self.finish == "stop":
            text = text[: _stop_index(text, stops)]
        return Continuation(text, len(self.codes), self.score, self.finish or otherwise)


def _grown(text: GrowingText, draft: _Draft, model: LanguageModel, stops: tuple[str, ...]) -> str:
    """What a draft's text has grown by."""
    if text.has_ended or draft.finish is None:
        return "" if text.has_ended else text.grow(draft.codes)
    return text.end(draft.continuation(model, stops, draft.finish).text)


def _pieces(row: int, texts: Sequence[str]) -> list[Piece]:
    return [Piece(row, index, text) for index, text in enumerate(texts) if text]


def _stop_index(text: str, stops: tuple[str, ...]) -> int | None:
    """Where the first stop string begins."""
    return min((index for index in map(text.find, stops) if index >= 0), default=None)


class _Reader:
    """Texts (B, S) of equal length as the backbone has read them; gives the probabilities of the next token."""

    def __init__(self, model: LanguageModel, prompt: Sequence[int]) -> None:
        self._model = model
        self._codes = torch.tensor([list(prompt)[-model.window :]], device=model.device)  # (1, S)
        self._state: State = []
        self._logits = self._read(self._codes)

    def log_probabilities(self) -> Tensor:
        """Of each token to come next, float64 (B, V) on the CPU; -inf for what is no token of a text."""
        logits = self._logits.cpu().double()
        logits[:, :FIRST] = -torch.inf if not self._model.ends else _only_end(logits)
        return logits.log_softmax(1)

    def advance(self, rows: Tensor, chosen: Tensor) -> None:
        """Row b becomes what row rows[b] was, followed by the token chosen[b]; both int64 (B,)."""
        rows, chosen = rows.to(self._model.device), chosen.to(self._model.device)
        self._codes = torch.cat((self._codes[rows], chosen[:, None]), dim=1)
        self._state = [part[rows] for part in self._state]
        new = chosen[:, None]  # the backbone reads this one code only, its state holds what came before
        if self._codes.shape[1] > self._model.window:
            # Half of the window is kept, so that it is read anew only after another half.
            self._codes = self._codes[:, -max(1, self._model.window // 2) :]
            self._state, new = [], self._codes
        self._logits = self._read(new)

    def _read(self, codes: Tensor) -> Tensor:
        """Read the next codes (B, S); logits (B, V) after the last of them."""
        features, self._state = self._model.backbone.advance(codes, self._state)
        return self._model.head(features[:, -1])  # type: ignore[no-any-return]


def _only_end(logits: Tensor) -> Tensor:
    """The logits of the codes below FIRST, of which a text may only hold its end."""
    special = torch.full_like(logits[:, :FIRST], -torch.inf)
    special[:, END] = logits[:, END]
    return special


def _sample(
    model: LanguageModel, prompt: Sequence[int], config: GenerationConfig, deadline: float
) -> Generator[list[_Draft], None, tuple[Continuation, ...]]:
    """Greedy or random continuations, `n` at once; yields them as drafts after every token.

    One that has finished is drawn on, and what it draws is dropped.
    """
    generator = torch.Generator().manual_seed(config.seed)
    drafts = [_Draft() for _ in range(config.n)]
    reader = _Reader(model, prompt)
    # The prompt is read once, as row 0, for all continuations; from the second token on each has its own row.
    rows, is_late = torch.zeros(config.n, dtype=torch.int64), False
    for _ in range(config.max_tokens):
        log_probabilities = reader.log_probabilities()[rows]  # (n, V)
        chosen = _drawn(log_probabilities, config, generator)
        scores = log_probabilities.gather(1, chosen[:, None])[:, 0].tolist()  # before temperature, top_k and top_p
        for index, (draft, code, score) in enumerate(zip(drafts, chosen.tolist(), scores, strict=True)):
            if draft.finish is None:
                drafts[index] = draft.extended(code, draft.score + score, model, config.stop)
        yield drafts
        is_late = time.monotonic() > deadline
        if is_late or all(draft.finish for draft in drafts):
            break
        reader.advance(rows, chosen)
        rows = torch.arange(config.n)
    return tuple(draft.continuation(model, config.stop, "time" if is_late else "length") for draft in drafts)


def _drawn(log_probabilities: Tensor, config: GenerationConfig, generator: torch.Generator) -> Tensor:
    """Tokens int64 (B,) drawn by their log-probabilities (B, V)."""
    if config.temperature == 0:
        return log_probabilities.argmax(1)
    logits = filtered(log_probabilities / config.temperature, config.top_k, config.top_p)
    return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def _search(model: LanguageModel, prompt: Sequence[int], config: GenerationConfig, deadline: float) -> Steps:
    """Beam search: the `n` most probable continuations that were found; yields after every token."""
    alive, ended = [_Draft()], list[_Draft]()
    reader, is_late = _Reader(model, prompt), False
    for _ in range(config.max_tokens):
        candidates = _best_extensions(reader, alive, config, model)
        ended = _ranked([*ended, *(draft for _, draft in candidates if draft.finish)])[: config.n]
        going_on = [(row, draft) for row, draft in candidates if not draft.finish][: config.beams]
        alive = [draft for _, draft in going_on]
        yield []
        is_late = time.monotonic() > deadline
        # A probability only falls: once n ended ones are better than all that go on, nothing changes any more.
        if is_late or not alive or (len(ended) == config.n and ended[-1].score >= alive[0].score):
            break
        last = torch.tensor([draft.codes[-1] for draft in alive])
        reader.advance(torch.tensor([row for row, _ in going_on]), last)
    best = _ranked([*ended, *alive])[: config.n]
    return tuple(draft.continuation(model, config.stop, "time" if is_late else "length") for draft in best)


def _best_extensions(
    reader: _Reader, alive: list[_Draft], config: GenerationConfig, model: LanguageModel
) -> list[tuple[int, _Draft]]:
    """The 2 * `beams` most probable drafts with one token more, and the row that each extends.

    A draft has one extension that ends it, so that of twice as many at least `beams` go on.
    """
    log_probabilities = reader.log_probabilities()  # (B, V), row b after draft b
    totals = log_probabilities + torch.tensor([draft.score for draft in alive], dtype=torch.float64)[:, None]
    scores, places = totals.flatten().topk(min(2 * config.beams, totals.numel()))
    extensions = []
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        row, code = divmod(place, totals.shape[1])  # flattened by rows: place = row * V + code
        if score > -torch.inf:
            extensions.append((row, alive[row].extended(code, score, model, config.stop)))
    return extensions


def _ranked(drafts: list[_Draft]) -> list[_Draft]:
    return sorted(drafts, key=lambda draft: -draft.score)
