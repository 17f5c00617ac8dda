"""What is handed out of a text as it grows: all of it, in order, and nothing that is taken back."""

from collections.abc import Iterator
from itertools import accumulate

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from app.ml.configs.generation import Continuations, GenerationConfig, Piece
from app.ml.interfaces.tokenizer import FIRST
from app.ml.kinds.tokenizers.byte import ByteTokenizer
from app.ml.models.growing_text import GrowingText
from app.ml.models.predictor import Predictor
from tests.support.texts import SMALL, run_of, text_data

BYTES = ByteTokenizer()


def handed_out(content: bytes, stops: list[str], lengths: list[int]) -> tuple[list[str], str]:
    """Return the pieces of a text of bytes that come in tokens of such lengths, and the whole text, cut at a stop."""
    codes = [FIRST + byte for byte in content]
    text, pieces = GrowingText(BYTES, stops), []
    ends = [end for end in accumulate(lengths) if end <= len(codes)]
    for end in ends:
        so_far = BYTES.decode(codes[:end])
        places = [so_far.find(stop) for stop in stops if stop in so_far]
        if places:
            return [*pieces, text.end(so_far[: min(places)])], so_far[: min(places)]
        pieces.append(text.grow(codes[:end]))
    whole = BYTES.decode(codes[: ends[-1]] if ends else [])
    return [*pieces, text.end(whole)], whole


@given(
    st.one_of(st.text("ab\u20ac\U0001f600", max_size=12).map(str.encode), st.binary(max_size=12)),
    st.lists(st.text("ab\u20ac\ufffd", min_size=1, max_size=3), max_size=3),
    st.lists(st.integers(1, 4), min_size=12, max_size=48),
)
@example("a\u20acb".encode(), ["\u20acb"], [1] * 12)
@example(b"aab", ["ab", "aabb"], [1] * 12)
@example(b"\xf0\x9f\xf0\x9f\x98\x80", [], [1] * 12)
def test_the_pieces_are_the_text(content: bytes, stops: list[str], lengths: list[int]) -> None:
    pieces, whole = handed_out(content, stops, lengths)
    assert "".join(pieces) == whole


def test_it_does_not_wait_for_what_cannot_come() -> None:
    pieces, _ = handed_out("ab\u20acab".encode(), ["abc"], [1] * 9)
    assert pieces == ["", "", "", "", "ab\u20ac", "", "", "ab"]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A language model over bytes, hardly trained: it writes whatever comes."""
    request = {"backbone": SMALL, "preprocessing": {"kind": "text", "tokenizer": "byte"}, "training": {"steps": 1}}
    generator = {"heads": [{"kind": "generator"}], "strategy": {"kind": "full"}}
    run = run_of(text_data(["\u20acb\u20ac", "a\u20ac\u00e9"] * 6), {**request, **generator})
    run.state.objective.eval()
    return Predictor(run.bundle())


def streamed(predictor: Predictor, prompts: list[str], config: GenerationConfig) -> tuple[list[Piece], object]:
    steps, pieces = predictor.generating(predictor.prompts(prompts), config, 60, streamed=True), list[Piece]()
    while True:
        try:
            pieces += next(steps)
        except StopIteration as end:
            return pieces, end.value


def configs(predictor: Predictor) -> Iterator[GenerationConfig]:
    yield GenerationConfig(max_tokens=24)
    drawn = GenerationConfig(max_tokens=24, temperature=1.5, n=3, seed=5)
    yield drawn
    text = predictor.generate(predictor.prompts(["\u20ac"]), drawn, 60)[0].continuations[0].text
    yield GenerationConfig(max_tokens=24, temperature=1.5, n=3, seed=5, stop=(text[4:7], "zz"))


def test_a_streamed_generation_is_the_same_generation(predictor: Predictor) -> None:
    prompts = ["\u20ac", "ab"]
    for config in configs(predictor):
        whole: list[Continuations] = predictor.generate(predictor.prompts(prompts), config, 60)
        pieces, result = streamed(predictor, prompts, config)
        assert result == whole
        for row, generation in enumerate(whole):
            for index, continuation in enumerate(generation.continuations):
                texts = [piece.text for piece in pieces if (piece.prompt, piece.continuation) == (row, index)]
                assert "".join(texts) == continuation.text
                assert len(texts) > 1 or len(continuation.text) < 2
                assert all(texts)
        assert [piece.prompt for piece in pieces] == sorted(piece.prompt for piece in pieces)


def test_a_step_computes_no_more_than_a_token(predictor: Predictor) -> None:
    state = torch.is_inference_mode_enabled()
    steps = predictor.generating(predictor.prompts(["ab"]), GenerationConfig(max_tokens=4096), 60)
    assert next(steps) == []
    assert torch.is_inference_mode_enabled() == state
    steps.close()
