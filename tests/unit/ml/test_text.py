import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.ml.data.arrays import ArrayData, TextRows
from app.ml.errors import CorruptModelError, InputError
from app.ml.interfaces import ResolutionContext
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.tokenizer import BEGIN, END, FIRST, PADDING, UNKNOWN
from app.ml.kinds.modalities.text import MAX_BYTES, TOKENIZER, TextModality
from app.ml.kinds.preprocessing.text import TextPreprocessing
from app.ml.models.bundle import json_of, read_bundle, read_manifest
from tests.support.texts import CHARACTERS, SMALL, run_of, text_data


def fitted(texts: list[str], **choices: Any) -> TextModality:
    data = text_data(texts, continuous=choices.pop("continuous", False))
    context = ResolutionContext("text", data.spec.shape, len(texts), continuous=data.spec.continuous)
    chosen, _ = TextPreprocessing.model_validate({"tokenizer": "character", **choices}).resolve(context)
    assert chosen.largest(data.spec).shape >= TextModality.fit(data.inputs, data.spec, chosen).shape
    return TextModality.fit(data.inputs, data.spec, chosen)


def test_rows_are_marked_and_filled_up() -> None:
    text = fitted(["abb", "b"])
    assert text.encode(np.array(["abb", "b", "z"], dtype=object)).tolist() == [
        [BEGIN, FIRST + 1, FIRST, FIRST, END],
        [BEGIN, FIRST, END, PADDING, PADDING],
        [BEGIN, UNKNOWN, END, PADDING, PADDING],
    ]


def test_a_longer_text_is_cut_and_its_end_not_claimed() -> None:
    text = fitted(["abb", "b"])
    assert text.encode(np.array(["abbb"], dtype=object)).tolist() == [[BEGIN, FIRST + 1, FIRST, FIRST, FIRST]]
    assert fitted(["abcdefgh"], max_tokens=4).shape == (4,)


def test_pieces_of_one_text_have_no_limits() -> None:
    text = fitted(["abb", "bba"], continuous=True)
    assert text.encode(np.array(["abb"], dtype=object)).tolist() == [[FIRST + 1, FIRST, FIRST]]


def test_texts_are_written_as_chosen() -> None:
    upper = fitted(["\u00e9a"], lowercase=True, form="nfc")
    assert (
        upper.encode(np.array(["\u00e9A", "e\u0301a"], dtype=object)).tolist()
        == [upper.encode(np.array(["\u00e9a"], dtype=object)).tolist()[0]] * 2
    )
    assert fitted(["fi"], form="nfkc").codes(["\ufb01"]) == fitted(["fi"]).codes(["fi"])


@pytest.mark.parametrize(
    ("value", "msg"),
    [
        (3, "is a string"),
        (None, "is a string"),
        (["a"], "is a string"),
        ("", "empty"),
        ("a\ud800", "surrogate pair at character 1"),
        ("x" * (MAX_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(value: Any, msg: str) -> None:
    text = fitted(["ab"])
    with pytest.raises(InputError, match=msg) as caught:
        text.decode(["ab", value])
    assert [loc for loc, _ in caught.value.errors] == [(1,)]


def test_only_texts_fit() -> None:
    text = fitted(["ab"])
    assert text.differences(text_data(["a much longer one"]).spec) == []
    other = text_data(["ab"]).spec.model_copy(update={"modality": "image", "shape": (2, 2, 1)})
    assert "image" in text.differences(other)[0]


@pytest.mark.parametrize(("text", "kind"), [(["ab"] * 10, "character"), (["a" * 100] * 6000, "bpe")])
def test_the_tokenizer_is_chosen_by_how_much_text_there_is(text: list[str], kind: str) -> None:
    context = ResolutionContext("text", (max(map(len, text)),), len(text))
    chosen, decisions = TextPreprocessing().resolve(context)
    assert chosen.tokenizer == kind
    assert {one.field for one in decisions} == {"tokenizer", "vocabulary", "max_tokens", "limits"}
    assert chosen.resolve(context) == (chosen, ())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    data = text_data(["the cat", "a dog", "the end"] * 4)
    run_of(data, {"backbone": SMALL, "preprocessing": CHARACTERS, "training": {"epochs": 1}}).save_bundle(folder)
    return folder


def copied(saved: Path, to: Path) -> Path:
    for path in saved.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_the_vocabulary_is_a_file_and_not_in_the_manifest(saved: Path) -> None:
    manifest = json_of(read_manifest(saved))
    assert "alphabet" not in json.dumps(manifest)
    assert json.loads((saved / TOKENIZER).read_text())["kind"] == "character"
    again = read_bundle(saved).manifest.modality
    assert isinstance(again, TextModality)
    assert again.codec.decode(again.codes(["the cat"])[0]) == "the cat"


def test_a_changed_tokenizer_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    (folder / TOKENIZER).write_text((folder / TOKENIZER).read_text().replace("cat", "cot"))
    (folder / TOKENIZER).write_text('{"kind": "byte"}')
    with pytest.raises(CorruptModelError, match=r"tokenizer\.json"):
        read_bundle(folder)
    (folder / TOKENIZER).unlink()
    with pytest.raises(CorruptModelError, match=r"tokenizer\.json"):
        read_bundle(folder)


@pytest.mark.parametrize(
    "content", ['{"kind": "byte"}', '{"kind": "python"}', "[]", '{"kind": "bpe", "merges": [["q", "zz"]]}']
)
def test_a_tokenizer_that_does_not_belong_is_refused(saved: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / TOKENIZER).write_text(content)
    modality = read_manifest(saved).modality
    with pytest.raises(CorruptModelError, match=r"tokenizer\.json"):
        modality.loaded(tmp_path)


def test_a_vocabulary_is_learned_from_a_part_of_a_huge_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ml.data.arrays._MAX_BYTES_TO_FIT", 100)
    texts = [f"row {index:04}" for index in range(100)]  # 8 bytes each
    content = np.frombuffer("".join(texts).encode(), np.uint8)
    data = text_data(texts)
    rows = ArrayData(data.spec, TextRows(content, np.arange(0, 801, 8)), data.targets, data.split).to_fit()
    assert list(rows[:]) == texts[::8]


def test_texts_that_do_not_fit_are_reported_with_their_share() -> None:
    text = fitted(["abcdefgh", "abc", "ab", "ab"], max_tokens=6)
    (warning,) = text.warnings
    assert (warning.code, warning.count) == ("texts_cut", 1)
    assert "1 of 4 texts (25%)" in warning.message
    assert "16% of all tokens" in warning.message  # 3 of 19: each text has a mark before it
    assert fitted(["abcdefgh", "abc"]).warnings == ()
    other = text_data(["ab", "abcdefghij"])
    assert "1 of 2 texts" in text.adapted_to(other.inputs, other.spec).warnings[0].message
    assert text.adapted_to(other.inputs[:1], other.spec).warnings == ()


@pytest.mark.parametrize(
    ("characters", "rows", "tokenizer", "tokens"),
    [(500, 100, "character", 512), (900, 100, "bpe", 512), (1500, 100, "bpe", 1024), (1500, 5000, "bpe", 512)],
)
def test_longer_texts_get_a_tokenizer_and_a_context_that_read_them(
    characters: int, rows: int, tokenizer: str, tokens: int
) -> None:
    chosen, _ = TextPreprocessing().resolve(ResolutionContext("text", (characters,), rows))
    assert (chosen.tokenizer, chosen.max_tokens) == (tokenizer, tokens)


def test_of_a_text_far_beyond_the_context_only_a_part_is_taken_and_that_is_said() -> None:
    text = fitted(["abb", "b"], max_tokens=16)
    doubts = Doubts()
    (row,) = text.decode(["ab" * 50_000], doubts)
    assert len(row) < 20_000
    assert [(warning.code, warning.count) for warning in doubts.warnings()] == [("text_truncated", 1)]
    assert text.encode(np.array([row], object)).tolist() == text.encode(np.array(["ab" * 50_000], object)).tolist()
    (codes,) = text.prompts([("ab" * 50_000) + "b"])
    assert len(codes) < 20_000
    assert codes[-1] == codes[-2]  # it goes on from the end
    blanks = Doubts()
    text.decode([" " * 100_000 + "ab"], blanks)
    assert "text_truncated" in [warning.code for warning in blanks.warnings()]
