"""Continuing texts, against exhaustive search and independent draws."""

import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from app.ml.configs.generation import Continuation, GenerationConfig
from app.ml.errors import ConfigError, InputError
from app.ml.interfaces.tokenizer import BEGIN, END, FIRST
from app.ml.models.bundle import Bundle, read_bundle
from app.ml.models.generation import LanguageModel, filtered, generate
from app.ml.models.predictor import Predictor
from tests.support import tiny
from tests.support.texts import CHARACTERS, SMALL, run_of, text_data
from worker.training.run import Run

GENERATOR = {"kind": "generator"}
VERSES = ["abcabc", "bcabca", "cab", "abca"] * 6
LATER = 1e12


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("parent")
    request = {"backbone": SMALL, "preprocessing": CHARACTERS, "training": {"epochs": 10, "batch_size": 8}}
    run_of(text_data(VERSES), request).save_bundle(folder)
    return read_bundle(folder, for_training=True)


@pytest.fixture(scope="module")
def run(pretrained: Bundle) -> Run:
    training = {"epochs": 2, "batch_size": 8}
    return run_of(
        text_data(VERSES), {"heads": [GENERATOR], "strategy": {"kind": "full"}, "training": training}, pretrained
    )


@pytest.fixture(scope="module")
def predictor(run: Run) -> Predictor:
    run.state.objective.eval()
    return Predictor(run.bundle())


@pytest.fixture(scope="module")
def model(predictor: Predictor) -> LanguageModel:
    return predictor._language_model()


def log_probability(model: LanguageModel, prompt: list[int], codes: tuple[int, ...]) -> float:
    """Of codes after a prompt, from whole readings; what is no token of a text is impossible."""
    total, so_far = 0.0, list(prompt)
    for code in codes:
        with torch.no_grad():
            logits = model.head(model.backbone.sequence(torch.tensor([so_far]))[0, -1]).double()
        logits[:END] = -math.inf
        total += float(logits.log_softmax(0)[code])
        so_far.append(code)
    return total


def all_of(model: LanguageModel, steps: int) -> list[tuple[int, ...]]:
    """Every continuation: of `steps` tokens, or ended before."""
    letters = range(FIRST, model.tokenizer.size)
    ended = [(*some, END) for n in range(steps) for some in itertools.product(letters, repeat=n)]
    return ended + list(itertools.product(letters, repeat=steps))


PROMPT = [BEGIN, FIRST, FIRST + 1]


def test_a_wide_beam_finds_the_best_of_all(model: LanguageModel) -> None:
    best = sorted(((log_probability(model, PROMPT, codes), codes) for codes in all_of(model, 3)), reverse=True)
    found = generate(model, PROMPT, GenerationConfig(max_tokens=3, beams=27, n=5), LATER)
    assert [one.log_probability for one in found] == pytest.approx([score for score, _ in best[:5]], abs=1e-4)
    assert [one.text for one in found] == [model.tokenizer.decode(codes) for _, codes in best[:5]]
    assert [one.finish for one in found] == ["end" if codes[-1] == END else "length" for _, codes in best[:5]]


def test_greedy_takes_the_most_probable_token(model: LanguageModel) -> None:
    (found,) = generate(model, PROMPT, GenerationConfig(max_tokens=3), LATER)
    codes: tuple[int, ...] = ()
    for _ in range(3):
        nexts = [END, *range(FIRST, model.tokenizer.size)]
        codes += (max(nexts, key=lambda code: log_probability(model, [*PROMPT, *codes], (code,))),)
        if codes[-1] == END:
            break
    assert found.text == model.tokenizer.decode(codes)
    assert found.log_probability == pytest.approx(log_probability(model, PROMPT, codes), abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_come_as_often_as_they_are_probable(model: LanguageModel, temperature: float) -> None:
    found = generate(model, PROMPT, GenerationConfig(max_tokens=1, temperature=temperature, n=2000, seed=7), LATER)
    weights = {
        code: math.exp(log_probability(model, PROMPT, (code,)) / temperature)
        for code in [END, *range(FIRST, model.tokenizer.size)]
    }
    total = sum(weights.values())
    for code, weight in weights.items():
        share = sum(one.text == model.tokenizer.decode([code]) for one in found) / 2000
        assert share == pytest.approx(weight / total, abs=0.04)


def test_a_seed_draws_the_same_and_another_differs(model: LanguageModel) -> None:
    config = GenerationConfig(max_tokens=8, temperature=1.5, n=4, seed=1)
    assert generate(model, PROMPT, config, LATER) == generate(model, PROMPT, config, LATER)
    assert generate(model, PROMPT, config, LATER) != generate(
        model, PROMPT, GenerationConfig(8, 1.5, n=4, seed=2), LATER
    )


def test_sampling_leaves_the_global_generator_alone(model: LanguageModel) -> None:
    before = torch.get_rng_state()
    generate(model, PROMPT, GenerationConfig(max_tokens=4, temperature=1), LATER)
    assert torch.equal(before, torch.get_rng_state())


def test_only_the_most_probable_are_left() -> None:
    logits = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log()
    left = [
        [place for place, value in enumerate(filtered(logits, top_k, top_p)[0].tolist()) if value > -math.inf]
        for top_k, top_p in (
            (None, None),
            (1, None),
            (9, None),
            (None, 0.5),
            (None, 0.51),
            (None, 0.75),
            (None, 1.0),
            (2, 0.1),
        )
    ]
    assert left == [[0, 1, 2, 3], [0], [0, 1, 2, 3], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0]]


def test_top_k_of_one_is_greedy(model: LanguageModel) -> None:
    drawn = generate(model, PROMPT, GenerationConfig(max_tokens=6, temperature=3, top_k=1), LATER)
    assert drawn == generate(model, PROMPT, GenerationConfig(max_tokens=6), LATER)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_stop_string_is_left_out_and_ends_the_text(model: LanguageModel, beams: int) -> None:
    whole = generate(model, PROMPT, GenerationConfig(max_tokens=4, beams=beams), LATER)[0].text
    assert len(whole) >= 2
    (stopped, *_) = generate(model, PROMPT, GenerationConfig(max_tokens=4, stop=(whole[1], "zz")), LATER)
    cut = whole.index(whole[1])
    assert stopped == Continuation(whole[:cut], cut + 1, stopped.log_probability, "stop")


def test_a_deadline_ends_a_text_where_it_is(model: LanguageModel) -> None:
    config = GenerationConfig(max_tokens=50, temperature=1, stop=())
    (found,) = generate(model, PROMPT, config, time.monotonic() - 1)
    assert (found.tokens, found.finish in {"time", "end"}) == (1, True)
    (searched, *_) = generate(model, PROMPT, GenerationConfig(max_tokens=50, beams=2), time.monotonic() - 1)
    assert searched.tokens == 1


def test_texts_longer_than_the_window_go_on(predictor: Predictor) -> None:
    window = predictor.manifest.modality.shape[0]
    config = GenerationConfig(max_tokens=3 * window, temperature=2, n=8, seed=3)
    (short, long) = predictor.generate(predictor.prompts(["ab", "abc" * window]), config, 60)
    assert (short.truncated, long.truncated) == (False, True)
    assert max(one.tokens for one in long.continuations) > 1
    assert all(one.finish in {"end", "length"} for one in (*short.continuations, *long.continuations))


def test_a_row_does_not_depend_on_its_neighbours(predictor: Predictor) -> None:
    config = GenerationConfig(max_tokens=6)
    together = predictor.generate(predictor.prompts(["ab", "c", ""]), config, 60)
    assert together == [predictor.generate(predictor.prompts([one]), config, 60)[0] for one in ("ab", "c", "")]


def test_what_is_no_text_is_refused(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="is a string"):
        predictor.generate(predictor.prompts(["a", 3]), GenerationConfig(), 60)


def test_pieces_of_one_text_go_on_from_something() -> None:
    data = text_data(["abcab", "bcabc", "cabca"], continuous=True)
    request: dict[str, Any] = {
        "heads": [GENERATOR],
        "backbone": SMALL,
        "preprocessing": CHARACTERS,
        "training": {"epochs": 1},
    }
    predictor = Predictor(run_of(data, request).bundle())
    with pytest.raises(InputError, match="goes on from something"):
        predictor.generate(predictor.prompts(["a", ""]), GenerationConfig(), 60)
    (found,) = predictor.generate(predictor.prompts(["ab"]), GenerationConfig(max_tokens=12), 60)
    assert (found.continuations[0].tokens, found.continuations[0].finish) == (12, "length")


# ---- where its weights come from ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True])
def test_a_generator_starts_from_the_pretrained_layer(tmp_path: Path, tied: bool) -> None:
    data = text_data(VERSES)
    method = {"kind": "next_token", "tied": tied}
    request = {
        "backbone": SMALL,
        "method": method,
        "preprocessing": CHARACTERS,
        "training": {"epochs": 3, "precision": "float32"},
    }
    parent = run_of(data, request)
    parent.save_bundle(tmp_path)
    expected = parent.evaluate("train")
    wanted = {"heads": [GENERATOR], "strategy": {"kind": "full"}, "training": {"epochs": 1}}
    started = run_of(data, wanted, read_bundle(tmp_path, for_training=True), train=False)
    again = started.evaluate("train")
    assert expected is not None
    assert again is not None
    assert again.losses["loss"] == pytest.approx(expected.losses["loss"], rel=1e-5)
    without = run_of(data, wanted, read_bundle(tmp_path), train=False).evaluate("train")
    assert without is not None
    assert without.losses["loss"] > expected.losses["loss"] + 0.05, "the layer is what was inherited"


def test_metrics_are_those_of_a_language_model(run: Run) -> None:
    found = run.evaluate("train")
    assert found is not None
    said = found.heads["generator"]
    assert said["perplexity"] == pytest.approx(math.exp(found.losses["loss"]), rel=1e-5)
    assert said["tokens"] == sum(map(len, VERSES)) + len(VERSES)
    assert said["bits_per_character"] == pytest.approx(
        found.losses["loss"] * said["tokens"] / sum(map(len, VERSES)) / math.log(2), rel=1e-5
    )


def test_what_looks_ahead_continues_nothing() -> None:
    data = text_data(VERSES)
    request = {
        "backbone": SMALL,
        "method": {"kind": "masked_language"},
        "preprocessing": CHARACTERS,
        "training": {"epochs": 1},
    }
    parent = run_of(data, request).bundle()
    with pytest.raises(ConfigError, match="pretrain one with next_token"):
        run_of(data, {"heads": [GENERATOR]}, parent)
    with pytest.raises(ConfigError, match="must not look ahead"):
        run_of(data, {"heads": [GENERATOR], "backbone": {**SMALL, "causal": False}})


def test_only_texts_are_continued() -> None:
    with pytest.raises(ConfigError, match="learns from texts"):
        run_of(tiny.series(), {"heads": [GENERATOR]})
