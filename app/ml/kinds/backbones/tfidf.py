"""Texts as tf-idf: how often a text has each of the words and pieces of words that train texts share.

    x_g = (1 + log n_g) (1 + log (1 + N) / (1 + N_g)) for the n_g > 0 times that gram g occurs

(Sparck Jones, 1972), where N_g of N train texts have the gram. Of texts that are read byte by byte there are two groups
of grams: words with pairs of neighbouring words, and runs of three to six bytes that lie within a word and the limits
around it; a gram of either is kept if at least two train texts have it, the most frequent first. Bytes that are no
letter or digit separate words, those of characters beyond ASCII do not. Of other tokens there is one group, of their
runs. Each group is scaled to |x| = 1.

A gram is known by a hash: grams share 2^18 places (Weinberger et al., "Feature hashing for large scale multitask
learning", 2009), and a table says which feature a place is. Nothing is learned by gradient but a weight of each
feature, which is 1 at first.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.data.chunks import rows_per_block
from app.ml.fields import Auto, Integer
from app.ml.interfaces import Backbone, BackboneConfig, BackboneRequest, Choices, Encoding, ResolutionContext
from app.ml.interfaces.tokenizer import FIRST
from app.ml.interfaces.values import ExampleSource
from app.ml.kinds.preprocessing.text import LONGEST, MIN_TOKENS, TextPreprocessing
from app.ml.spec import ModalityKind

_PLACES, _ASCII = 1 << 18, 0x7F
_PRIME = (1 << 31) - 1  # products of two residues stay below 2^63
_FACTOR, _SPREAD = 1_664_525, 1_597_334_677
_MAX_POSITION = 63  # bytes of a word whose order counts
_POWERS = tuple(pow(_FACTOR, exponent + 1, _PRIME) for exponent in range(_MAX_POSITION + 1))
_WORDS, _PIECES = (1, 2), (3, 4, 5, 6)  # words of a gram, bytes of a piece
_SHARE_OF_WORDS = 0.4
_SMALL_VOCABULARY, _RUNS_OF_SMALL, _RUNS_OF_LARGE = 512, (1, 2, 3, 4), (1, 2)
_MIN_TEXTS = 2  # that have a gram
_MAX_TEXTS_TO_FIT = 20_000
_USUAL_FEATURES, _MANY_ROWS, _FEATURES_OF_MANY_ROWS = 10_000, 2_000, 4_096
_CODES, _MIN_CODES = 50_000_000, 1024  # of all texts together; of one text that is read whole nevertheless

Count = Annotated[Integer, Field(ge=10, le=100_000)]


class Tfidf(BackboneRequest):
    """Counts of a text's words and of pieces of them, rare ones weighing more, for heads that are solved for."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("text",)
    learns: ClassVar[bool] = False
    kind: Literal["tfidf"] = "tfidf"
    features: Auto[Count] = Field(
        "auto",
        description="How many words, pairs of words and pieces of words are counted; auto: 10,000, fewer of many rows.",
        examples=[300],
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedTfidf]":
        """Return the class that builds."""
        return ResolvedTfidf

    def choices(self, context: ResolutionContext) -> Choices:
        """As many as a head can be solved for in seconds."""
        features = _USUAL_FEATURES if context.train_rows <= _MANY_ROWS else _FEATURES_OF_MANY_ROWS
        return {"features": (features, f"{context.train_rows} train rows")}

    def usual_preprocessing(self, context: ResolutionContext) -> TextPreprocessing:
        """Bytes of small letters, since words are found among them, and as much of long texts as memory allows."""
        most = max(_MIN_CODES, min(LONGEST, _CODES // max(1, context.train_rows)))
        return TextPreprocessing(tokenizer="byte", lowercase=True, form="nfkc", max_tokens=most)


class ResolvedTfidf(Tfidf, BackboneConfig):
    """The same with a known number of features."""

    features: Count

    def build(self, encoding: Encoding) -> "TfidfBackbone":
        """Build it for codes (T,); what is counted is chosen from train texts."""
        return TfidfBackbone(self.features, encoding)


class TfidfBackbone(Backbone):
    """(B, T) to (B, F)."""

    letters: Tensor  # bool (V,): which codes words are made of
    places: Tensor  # int32 (G, 2^18): of each group's places the feature within the group, its size where there is none
    rarity: Tensor  # (F,)

    def __init__(self, features: int, encoding: Encoding) -> None:
        super().__init__()
        assert encoding.vocabulary is not None
        self.encoding, self.features = encoding, features
        self.has_words = encoding.vocabulary == MIN_TOKENS  # bytes
        words = int(_SHARE_OF_WORDS * features)
        self.sizes = [words, features - words] if self.has_words else [features]
        self.register_buffer("letters", torch.tensor([_is_letter(code - FIRST) for code in range(MIN_TOKENS)]))
        self.register_buffer("places", torch.tensor(self.sizes, dtype=torch.int32)[:, None].repeat(1, _PLACES))
        self.register_buffer("rarity", torch.ones(features))
        self.weights = nn.Parameter(torch.ones(features))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, T) to (B, F)."""
        groups = []
        rarities = torch.split(self.rarity, self.sizes)
        for size, rarity, table, grams in zip(self.sizes, rarities, self.places, self._grams(inputs), strict=True):
            # One more column than features: what is no feature is counted there.
            features = torch.where(grams < 0, size, table[grams.clamp(min=0)].long())  # (B, M)
            counts = rarity.new_zeros((inputs.shape[0], size + 1))
            counts = counts.scatter_add(1, features, torch.ones_like(features, dtype=counts.dtype))[:, :size]
            groups.append(F.normalize((counts > 0) * (1 + counts.clamp(min=1).log()) * rarity, dim=1))
        return self.weights * torch.cat(groups, dim=1)

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """There is one."""
        return [self(inputs)]

    @torch.no_grad()
    def initialize(self, examples: ExampleSource) -> None:
        """Choose the grams that most train texts have, and set how rare each is."""
        if self.has_words and examples.characters is not None and examples.characters[FIRST:].all():
            self.letters[FIRST:] = True  # no bytes, of which some continue a character: all that is known are runs
        chosen = torch.arange(0, len(examples), max(1, -(-len(examples) // _MAX_TEXTS_TO_FIT)))
        texts = torch.zeros(len(self.sizes), _PLACES, dtype=torch.int64)
        for block in torch.split(chosen, rows_per_block(self.encoding.volume)):
            for group, grams in enumerate(self._grams(examples.batch(block).inputs)):
                texts[group] += texts_with_each(grams)
        rarities = []
        for group, size in enumerate(self.sizes):
            # Of equally frequent ones the lower place: stable sorting makes the choice the same everywhere.
            counts, order = texts[group].sort(descending=True, stable=True)
            kept = order[:size][counts[:size] >= min(_MIN_TEXTS, len(chosen))]
            self.places[group] = size
            self.places[group, kept] = torch.arange(len(kept), dtype=torch.int32)
            rarity = 1 + math.log(1 + len(chosen)) - (1 + counts[:size]).log()
            rarities.append(rarity)
        self.rarity.copy_(torch.cat(rarities))

    def _grams(self, codes: Tensor) -> list[Tensor]:
        """The place of every gram of codes (B, T), by group (B, M), each below 2^18, or -1 where there is no gram."""
        if not self.has_words:
            orders = _RUNS_OF_SMALL if (self.encoding.vocabulary or 0) <= _SMALL_VOCABULARY else _RUNS_OF_LARGE
            return [runs(codes, codes > 0, orders)]
        letters = self.letters[codes]
        words = word_hashes(codes, letters)
        return [runs(words, words > 0, _WORDS), pieces(codes, letters, _PIECES)]


def word_hashes(codes: Tensor, letters: Tensor) -> Tensor:
    """Hash the words of codes (B, T), in which `letters` are True: int64 (B, T), above 0, and 0 behind the last word.

    sum_i c_i a^(i + 1) modulo a prime, over the places i within the word.
    """
    steps = torch.arange(codes.shape[1], device=codes.device).expand_as(codes)
    starts = letters & ~F.pad(letters, (1, -1))
    # Which word a step belongs to; what is no letter goes to one more, which is left out.
    words = torch.where(letters, starts.long().cumsum(1) - 1, codes.shape[1])
    none = codes.new_zeros((codes.shape[0], codes.shape[1] + 1))
    first = none.scatter_add(1, torch.where(starts, words, codes.shape[1]), steps)  # the step at which a word starts
    places = (steps - first.gather(1, words)).clamp(0, _MAX_POSITION)
    hashed = none.scatter_add(1, words, codes * codes.new_tensor(_POWERS)[places])
    return hashed[:, :-1] % _PRIME


def pieces(codes: Tensor, letters: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Places of runs of codes (B, T) whose inner codes are letters, (B, M): outer ones may be a word's limit."""
    longest, steps = max(lengths), codes.shape[1]
    # What is no letter is 0, and every text has a limit at its end.
    codes, letters = F.pad(torch.where(letters, codes, 0), (0, longest)), F.pad(letters, (0, longest))
    hashed, inner, places = codes[:, :steps], torch.ones_like(letters[:, :steps]), []
    for last in range(1, longest):  # of the run from t to t + last
        hashed = (hashed * _FACTOR + codes[:, last : last + steps]) % _PRIME
        if last + 1 in lengths:
            places.append(torch.where(inner, _place(hashed, last), -1))
        inner = inner & letters[:, last : last + steps]
    return torch.cat(places, dim=1)


def runs(codes: Tensor, known: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Places of runs of codes (B, T) that are all known, (B, M)."""
    longest, steps = max(lengths), codes.shape[1]
    # A run that reaches beyond the end is none.
    codes, known = F.pad(codes, (0, longest)), F.pad(known, (0, longest))
    hashed, whole, places = torch.zeros_like(codes[:, :steps]), torch.ones_like(known[:, :steps]), []
    for last in range(longest):  # of the run from t to t + last
        hashed = (hashed * _FACTOR + codes[:, last : last + steps]) % _PRIME
        whole = whole & known[:, last : last + steps]
        if last + 1 in lengths:
            places.append(torch.where(whole, _place(hashed, last), -1))
    return torch.cat(places, dim=1)


def texts_with_each(places: Tensor) -> Tensor:
    """How many of the texts, places (B, M), have each place: (2^18,)."""
    total = torch.zeros(_PLACES, dtype=torch.int64)
    for text in places:
        if len(text) < _PLACES // 16:
            total[text[text >= 0].unique()] += 1
        else:
            seen = torch.zeros(_PLACES, dtype=torch.bool)
            seen[text[text >= 0]] = True
            total += seen
    return total


def _place(hashed: Tensor, last: int) -> Tensor:
    """Mix the hash of a gram whose last part has this index, and fold it to a place."""
    return (hashed * _SPREAD + last) % _PRIME % _PLACES


def _is_letter(byte: int) -> bool:
    """Whether a byte of UTF-8 belongs to a word: a letter or digit of ASCII, or any character beyond."""
    return byte > _ASCII or (byte >= 0 and chr(byte).isalnum())
