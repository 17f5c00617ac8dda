"""Texts as tf-idf, against counts by dictionaries and against scikit-learn's words."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.interfaces import Batch, Encoding
from app.ml.kinds.backbones.tfidf import TfidfBackbone
from app.ml.kinds.modalities.text import TextModality
from app.ml.kinds.preprocessing.text import ResolvedTextPreprocessing
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import DataSpec
from tests.support import tiny
from worker.training.run import prepare

TEXTS = (
    "a red fox, a red dog",
    "The red dog and the fox!",
    "über die Straße; die red-dog Straße",
    "two foxes and 12 dogs, über",
    "12 12 12 dogs are (not) foxes",
    "x",
)
BYTES = ResolvedTextPreprocessing(tokenizer="byte", vocabulary=261, max_tokens=8192, limits="marked", lowercase=True)


class Rows:
    """Encoded rows as an example source."""

    targets: dict[str, torch.Tensor] = {}  # noqa: RUF012 - a source has it

    def __init__(self, values: torch.Tensor, characters: Sequence[int] | None = None) -> None:
        self.values = values
        self.characters = None if characters is None else torch.tensor(characters)

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, indices: torch.Tensor | None) -> Batch:
        return Batch(self.values if indices is None else self.values[indices])


def encoded(texts: Sequence[str], chosen: ResolvedTextPreprocessing = BYTES) -> tuple[TextModality, torch.Tensor]:
    rows = np.array(texts, dtype=object)
    spec = DataSpec(modality="text", shape=(max(map(len, texts)),), rows={})
    modality = TextModality.fit(rows, spec, chosen)
    return modality, modality.encode(rows)


def fitted(codes: torch.Tensor, vocabulary: int, features: int = 1000) -> TfidfBackbone:
    backbone = TfidfBackbone(features, Encoding(shape=(codes.shape[1],), vocabulary=vocabulary))
    backbone.initialize(Rows(codes))
    return backbone


def words_of(text: str) -> Counter[bytes]:
    words = re.findall(rb"[0-9a-z\x80-\xff]+", text.lower().encode())
    return Counter([*words, *(b" ".join(pair) for pair in pairwise(words))])


def pieces_of(text: str) -> Counter[bytes]:
    padded = re.sub(rb"[^0-9a-z\x80-\xff]", b" ", b" " + text.lower().encode() + b" ")
    runs = (padded[at : at + length] for length in (3, 4, 5, 6) for at in range(len(padded) - length + 1))
    return Counter(run for run in runs if b" " not in run[1:-1])


def products(texts: Sequence[str], grams_of: Callable[[str], Counter[bytes]]) -> np.ndarray:
    """The products of all pairs of rows, which do not depend on the order of features."""
    counts = [grams_of(text) for text in texts]
    having = Counter(gram for count in counts for gram in count)
    kept = [gram for gram, rows in having.items() if rows >= 2]
    rows = np.zeros((len(texts), len(kept)))
    for row, count in enumerate(counts):
        for column, gram in enumerate(kept):
            if count[gram]:
                rarity = 1 + math.log((1 + len(texts)) / (1 + having[gram]))
                rows[row, column] = (1 + math.log(count[gram])) * rarity
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows @ rows.T


def test_words_and_pieces_are_those_that_dictionaries_count() -> None:
    _, codes = encoded(TEXTS)
    backbone = fitted(codes, 261)
    words, pieces = torch.split(backbone(codes), backbone.sizes, dim=1)
    assert np.allclose((words @ words.T).detach(), products(TEXTS, words_of), atol=1e-6)
    assert np.allclose((pieces @ pieces.T).detach(), products(TEXTS, pieces_of), atol=1e-6)


def test_the_grams_of_most_texts_are_kept() -> None:
    _, codes = encoded(["red dog", "red dog", "red dog", "red fox", "fox", "elk"])
    backbone = fitted(codes, 261, features=5)
    assert backbone.sizes == [2, 3]
    words = torch.split(backbone(codes), backbone.sizes, dim=1)[0]
    assert ((words > 0).sum(0) == torch.tensor([4, 3])).all(), "red, and of equally frequent ones: dog or red dog"


def test_a_row_in_a_longer_frame_or_another_batch_has_the_same_features() -> None:
    _, codes = encoded(TEXTS)
    backbone = fitted(codes, 261)
    features = backbone(codes)
    assert torch.allclose(backbone(torch.nn.functional.pad(codes, (0, 40))), features, atol=1e-6)
    assert all(torch.equal(backbone(codes[row : row + 1])[0], features[row]) for row in range(len(codes)))
    assert features[-1].abs().max() == 0, "a text that shares nothing"


def test_other_tokens_are_counted_by_their_runs() -> None:
    codes = torch.tensor([[5, 6, 7, 0, 0, 0], [6, 5, 7, 7, 0, 0], [5, 6, 7, 0, 0, 0], [8, 8, 8, 8, 8, 8]])
    features = fitted(torch.cat([codes, codes]), 1000)(codes)
    assert torch.equal(features[0], features[2])
    assert torch.allclose(features.norm(dim=1), torch.ones(4))
    assert int((features[0] > 0).sum()) == 5, "three tokens and two pairs"
    assert int((features[1] > 0).sum()) == 6, "7 counts once, beside 65, 57 and 77"
    assert 0 < (features[0] * features[1]).sum() < 0.9, "the same tokens in another order are another text"
    assert features[3] @ features[0] == 0


def test_as_many_characters_as_bytes_are_no_bytes() -> None:
    """Their codes are ranks: which of them is a blank is not known."""
    alphabet = "".join(chr(0x4E00 + place) for place in range(256))
    chosen = BYTES.model_copy(update={"tokenizer": "character", "vocabulary": 4096})
    texts = [alphabet, alphabet[:50], alphabet[20:80]]
    modality, codes = encoded(texts, chosen)
    assert modality.vocabulary == 261
    backbone = TfidfBackbone(3000, modality.encoding)
    backbone.initialize(Rows(codes, modality.characters()))
    assert backbone.letters[5:].all()
    shared = backbone(codes)
    assert shared[1] @ shared[2] > 0.2


def test_a_job_reads_whole_texts_byte_by_byte_unless_told_otherwise() -> None:
    spec = tiny.texts(60).spec.model_copy(update={"shape": (30_000,)})
    heads = [{"kind": "classifier", "target": "label"}]
    config = FineTuningConfig.model_validate({"backbone": {"kind": "tfidf"}, "heads": heads})
    resolved = resolve_fine_tuning(config, spec, None)
    preprocessing = resolved.config.preprocessing
    assert isinstance(preprocessing, ResolvedTextPreprocessing)
    assert (preprocessing.tokenizer, preprocessing.max_tokens, preprocessing.lowercase) == ("byte", 8192, True)
    (decision,) = [decision for decision in resolved.decisions if decision.field == "preprocessing"]
    assert decision.reason == "what tfidf reads best"
    told = config.model_copy(update={"preprocessing": BYTES.model_copy(update={"tokenizer": "bpe", "max_tokens": 64})})
    assert resolve_fine_tuning(told, spec, None).config.preprocessing == told.preprocessing


@pytest.mark.parametrize("head", [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}])
def test_heads_are_solved_on_words(head: dict[str, str]) -> None:
    data = tiny.texts(90)
    config = FineTuningConfig.model_validate({"backbone": {"kind": "tfidf"}, "heads": [head]})
    resolved = resolve_fine_tuning(config, data.spec, None)
    assert resolved.config.strategy.kind == "linear_probe"
    run = prepare(resolved.config, data)
    for _ in run.train():
        pass
    measured = run.evaluate("test")
    assert measured is not None
    (scores,) = measured.heads.values()
    score = scores.get("accuracy", scores.get("r2"))
    assert isinstance(score, float)
    assert score > (0.95 if head["kind"] == "classifier" else 0.5)
