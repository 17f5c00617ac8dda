import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from tokenizers import pre_tokenizers

from app.ml.errors import ConfigError
from app.ml.interfaces import ResolutionContext
from app.ml.interfaces.tokenizer import BEGIN, END, FIRST, MASK, PADDING, UNKNOWN, Tokenizer
from app.ml.kinds.preprocessing.text import TextPreprocessing
from app.ml.kinds.tokenizers import AnyTokenizer
from app.ml.kinds.tokenizers.bpe import LETTERS, BpeTokenizer
from app.ml.kinds.tokenizers.byte import ByteTokenizer
from app.ml.kinds.tokenizers.character import CharacterTokenizer
from app.ml.kinds.tokenizers.wordpiece import WordPieceTokenizer

CORPUS = ["the cat sat on the mat", "the other cat", "na\u00efve \u6f22\u5b57 \U0001f600", "the the the"]
BPE = BpeTokenizer.fit(CORPUS * 3, 300)
KINDS: list[Tokenizer] = [ByteTokenizer(), CharacterTokenizer.fit(CORPUS, 4096), BPE]
EACH = pytest.mark.parametrize("tokenizer", KINDS, ids=[one.kind for one in KINDS])
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@EACH
def test_what_is_known_comes_back(tokenizer: Tokenizer) -> None:
    for text, codes in zip(CORPUS, tokenizer.encode(CORPUS), strict=True):
        assert tokenizer.decode(codes) == text
        assert all(FIRST <= code < tokenizer.size for code in codes)
    assert tokenizer.decode([BEGIN, *tokenizer.encode(["cat"])[0], END, PADDING, MASK]) == "cat"


@EACH
@given(text=ANY_TEXT)
def test_the_codes_characters_add_up_to_the_texts(tokenizer: Tokenizer, text: str) -> None:
    counts = tokenizer.characters()
    assert len(counts) == tokenizer.size
    assert sum(counts[code] for code in tokenizer.encode([text])[0]) == len(text)


@pytest.mark.parametrize("tokenizer", [KINDS[0], KINDS[2]], ids=["byte", "bpe"])
@given(text=ANY_TEXT)
def test_bytes_and_their_pairs_know_every_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text


@EACH
def test_a_tokenizer_is_data(tokenizer: Tokenizer) -> None:
    again = TypeAdapter[AnyTokenizer](AnyTokenizer).validate_json(tokenizer.model_dump_json())
    assert again == tokenizer
    assert again.encode(CORPUS) == tokenizer.encode(CORPUS)
    assert all(len(again.encode([piece])[0]) >= 1 for piece in again.pieces())


def test_characters_are_ranked_by_frequency_and_then_by_code_point() -> None:
    assert CharacterTokenizer.fit(["bbaac", "d"], 4096).alphabet == "abcd"
    few = CharacterTokenizer.fit(["bbaac", "d"], FIRST + 2)
    assert few.alphabet == "ab"
    assert few.encode(["acb"]) == [[FIRST, UNKNOWN, FIRST + 1]]
    assert few.decode([FIRST, UNKNOWN]) == "a\ufffd"


def test_byte_pairs_are_merged_as_published() -> None:
    # Sennrich et al.: the most frequent pair first; here "lo", then "low", in 5 of 9 words.
    tokenizer = BpeTokenizer.fit(["low"] * 5 + ["newest"] * 4, FIRST + 256 + 2)
    assert [left + right for left, right in tokenizer.merges] in (["lo", "low"], ["ow", "low"])
    assert tokenizer.encode(["low"]) == [[tokenizer.size - 1]]
    assert set(LETTERS) == set(pre_tokenizers.ByteLevel.alphabet())


@pytest.mark.slow
def test_merges_are_the_same_in_every_process() -> None:
    code = (
        "from app.ml.kinds.tokenizers.bpe import BpeTokenizer as B\n"
        f"print(B.fit({CORPUS * 3!r}, 300).model_dump_json())"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
        for _ in range(2)
    }
    assert found == {BPE.model_dump_json()}


@pytest.mark.parametrize("merges", [[["ab", "c"]], [["a", "b"], ["ab", "x" * 63]], [["a", ""]]])
def test_merges_of_what_is_no_token_are_refused(merges: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="merge"):
        BpeTokenizer.model_validate({"merges": merges})


def test_an_alphabet_names_a_character_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        CharacterTokenizer(alphabet="aba")


PIECES = WordPieceTokenizer(tokens=("play", "##ing", "##s", "cafe", "!", "\u6f22"))


def test_words_are_cut_into_their_longest_pieces() -> None:
    codes = PIECES.encode(["Plays, PLAYING!  caf\u00e9\u6f22 x", "play[SEP]", ""])
    assert codes[0] == [FIRST, FIRST + 2, UNKNOWN, FIRST, FIRST + 1, FIRST + 4, FIRST + 3, FIRST + 5, UNKNOWN]
    assert codes[1] == [FIRST, UNKNOWN, UNKNOWN, UNKNOWN]  # no text can write a common code
    assert codes[2] == []
    assert PIECES.decode([BEGIN, *codes[0], END]) == " plays \ufffd playing ! cafe \u6f22 \ufffd"
    assert WordPieceTokenizer(tokens=("Play",), uncased=False).encode(["Play play"]) == [[FIRST, UNKNOWN]]
    assert PIECES.encode(["play" * 26]) == [[UNKNOWN]]
    assert PIECES.characters() == [0, 1, 0, 0, 0, 4, 3, 1, 4, 1, 1]


def test_pieces_are_data_and_each_stands_once() -> None:
    again = TypeAdapter[AnyTokenizer](AnyTokenizer).validate_json(PIECES.model_dump_json())
    assert again == PIECES
    assert [PIECES.encode([piece]) for piece in PIECES.pieces()] == [[[FIRST]], [[FIRST + 3]]]
    for tokens in (("a", "a"), ("a", "[UNK]"), ()):
        with pytest.raises(ValueError, match=r"twice|at least"):
            WordPieceTokenizer(tokens=tokens)


def test_a_wordpiece_vocabulary_is_not_learned() -> None:
    context = ResolutionContext("text", (10,), 100)
    with pytest.raises(ConfigError, match="comes with an imported model"):
        TextPreprocessing(tokenizer="wordpiece").resolve(context)
