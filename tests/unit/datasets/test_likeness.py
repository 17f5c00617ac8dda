"""Likeness: what looks, reads or rounds alike is found, what does not is not, and exact likeness is by content."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.datasets
from PIL import Image

from app.datasets.frames.digests import digest_rows, find_rows
from app.datasets.frames.texts import Texts
from app.datasets.likeness import across, images, numbers, pairs, sketch, texts, within
from app.ml.spec import ColumnSpec
from tests.support.digits import mnist_data

Pixels = npt.NDArray[np.uint8]


def digits(step: int) -> Pixels:
    x, _ = mnist_data()
    return np.asarray(x[::step], np.uint8).reshape(-1, 28, 28, 1)


def photos() -> Pixels:
    """128 pieces of 80 x 80 of the two photographs of scikit-learn."""
    whole = [picture[:400, :640] for picture in sklearn.datasets.load_sample_images().images]
    cut = [picture.reshape(5, 80, 8, 80, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 80, 80, 3) for picture in whole]
    return np.concatenate(cut)


def encoded(pixels: Pixels, quality: int) -> Pixels:
    out = []
    for picture in pixels:
        buffer = io.BytesIO()
        Image.fromarray(picture.squeeze()).save(buffer, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(buffer)).reshape(picture.shape))
    return np.stack(out)


def resized(pixels: Pixels, side: int) -> Pixels:
    return np.stack([np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.BOX)) for p in pixels])


def joined(rows: list[str]) -> Texts:
    raw = [row.encode() for row in rows]
    offsets = np.cumsum([0, *map(len, raw)])
    return Texts(np.frombuffer(b"".join(raw), np.uint8), offsets.astype(np.int64))


CHANGES = {
    "JPEG": lambda x: encoded(x, 85),
    "darker": lambda x: (x * 0.8).astype(np.uint8),
    "noise": lambda x: np.clip(x + np.random.default_rng(0).normal(0, 3, x.shape), 0, 255).astype(np.uint8),
    "smaller": lambda x: resized(x, 64),
}


@pytest.mark.parametrize("change", CHANGES)
def test_altered_photographs_are_found_and_different_ones_are_not(change: str) -> None:
    pixels = photos()
    matches = across("image", sketch(CHANGES[change](pixels), ()), sketch(pixels, ()))
    right = matches[:, 0] == matches[:, 1]
    assert right.sum() >= 0.75 * len(pixels), "a few are plain, or full of grass"
    assert (~right).sum() == 0


def test_handwritten_digits_are_not_taken_for_each_other() -> None:
    pixels = digits(2)
    assert len(within("image", sketch(pixels, ()))) <= 5
    copies = within("image", sketch(np.concatenate([pixels[:200], encoded(pixels[:200], 90)]), ()))
    assert sum(int(b) - int(a) == 200 for a, b in copies) >= 180


def test_colour_counts_and_plain_pictures_are_like_none() -> None:
    pattern = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
    red, blue = (np.stack([pattern * (k == c) for c in range(3)], axis=2) for k in (0, 2))
    plain = np.full((20, 20, 3), 90, np.uint8)
    rows = np.stack([red, blue, plain, plain + 1, red // 2 + red // 4]).astype(np.uint8)
    assert within("image", sketch(rows, ())).tolist() == [[0, 4]]


def test_correlation_is_the_one_of_the_books() -> None:
    sketches = sketch(digits(500), ())
    thumbnails = sketches.view(np.uint8)[:, :256]
    compared = images._Thumbnails.of(sketches.view(np.uint8))
    first, second = np.triu_indices(len(thumbnails), 1)
    expected = np.corrcoef(thumbnails.astype(np.float64))[first, second]
    np.testing.assert_allclose(compared._correlation(first, second), expected, atol=1e-4)
    for similarity in (0.6, 0.8, 0.95):  # the blocks rule nothing out that correlates
        np.testing.assert_array_equal(compared.agree(first, second, similarity), expected >= similarity)


def paragraphs() -> list[str]:
    """English of scikit-learn's own descriptions."""
    whole = [sklearn.datasets.load_wine, sklearn.datasets.load_breast_cancer, sklearn.datasets.load_digits]
    pieces = [piece.strip() for load in whole for piece in load().DESCR.split("\n\n")]
    return [piece for piece in dict.fromkeys(pieces) if len(piece) > 120]


def test_texts_that_differ_in_case_and_blanks_are_the_same() -> None:
    rows = [
        "Good  morning,\nWorld",
        "something else entirely",
        "good morning, world ",
        "\uff47ood morning, world",
        "x",
        "X",
    ]
    assert within("text", sketch(joined(rows), ())).tolist() == [[0, 2], [0, 3], [2, 3], [4, 5]]


def test_texts_that_share_nearly_all_shingles_are_found() -> None:
    longer = paragraphs()
    edited = [text.replace(" the ", " this ", 1) + " P.S." for text in longer]
    matches = across("text", sketch(joined(edited), ()), sketch(joined(longer), ()))
    assert (matches[:, 0] == matches[:, 1]).all()
    assert len(matches) >= 0.9 * len(longer) > 10
    rng = np.random.default_rng(0)
    unlike = ["".join(map(chr, rng.integers(97, 123, 80))) for _ in range(500)]
    assert len(within("text", sketch(joined(unlike), ()))) == 0
    assert len(within("text", sketch(joined([text[:8] for text in unlike]), ()))) == 0, "most bins are empty"


def test_minhash_estimates_the_jaccard_similarity() -> None:
    def shingles(text: str) -> set[str]:
        plain = texts.normalise(text)
        return {plain[i : i + 5] for i in range(len(plain) - 4)}

    rng = np.random.default_rng(3)
    rows = ["".join(map(chr, rng.integers(97, 101, 400))) for _ in range(30)]
    rows += [row[: 40 * (k % 10)] + rows[(k + 1) % 30][40 * (k % 10) :] for k, row in enumerate(rows)]
    small = np.ascontiguousarray(sketch(joined(rows), ())[:, :16]).view(np.uint16)
    errors = []
    for a in range(30):
        shingles_a, shingles_b = shingles(rows[a]), shingles(rows[30 + a])
        errors.append((small[a] == small[30 + a]).mean() - len(shingles_a & shingles_b) / len(shingles_a | shingles_b))
    assert abs(np.mean(errors)) < 0.03, "no bias"
    assert np.std(errors) < 0.1, "64 values: 0.06 at the most"


def test_a_long_run_of_equal_texts_is_paired_in_full() -> None:
    rows = ["the same again"] * 100
    matches = within("text", sketch(joined(rows), ()))
    assert {(0, k) for k in range(1, 100)} <= set(map(tuple, matches.tolist()))


def test_many_texts_of_one_template_take_no_quadratic_time() -> None:
    rows = [
        f"Dear customer {k}, your order number {k * 7919} was sent today. Thank you very much." for k in range(20_000)
    ]
    began = time.process_time()
    within("text", sketch(joined(rows), ()))
    assert time.process_time() - began < 20, "about two seconds"


def test_numbers_are_rounded_to_significant_digits() -> None:
    values = np.array([[0.0, -1234.5, 1.23456e-9, np.nan, np.inf, 99950, 3e38, 1065]], np.float32)
    expected = np.array([[0.0, -1240, 1.24e-9, np.nan, np.inf, 1e5, 3e38, 1070]], np.float32)
    np.testing.assert_array_equal(numbers.round_significant(values, 3), expected)


def test_rows_of_a_table_that_round_alike_are_found() -> None:
    wine = sklearn.datasets.load_wine().data.astype(np.float32)
    shaken = np.concatenate([wine, wine * np.float32(1 + 1e-6)])
    columns = tuple(ColumnSpec(name=f"x{j}", type="number") for j in range(wine.shape[1]))
    matches = within("table", sketch(shaken, columns))
    assert sum(int(b) - int(a) == len(wine) for a, b in matches) >= 0.95 * len(wine)
    assert len(within("table", sketch(wine, columns))) == 0


def test_codes_of_categories_are_not_rounded() -> None:
    codes = np.array([[1000.0], [1001.0]], np.float32)
    names = tuple(map(str, range(1002)))
    assert len(within("table", sketch(codes, (ColumnSpec(name="c", type="category", categories=names),)))) == 0
    assert len(within("table", sketch(codes, (ColumnSpec(name="c", type="number"),)))) == 1


def test_category_names_count_and_not_their_codes() -> None:
    def column(*names: str) -> tuple[ColumnSpec, ...]:
        return (ColumnSpec(name="c", type="category", categories=names),)

    old = digest_rows(np.array([[0], [1], [np.nan]], np.float32), column("a", "c"))
    new = digest_rows(np.array([[0], [2], [np.nan], [1]], np.float32), column("a", "b", "c"))
    np.testing.assert_array_equal(old, new[:3])
    assert len(np.unique(new, axis=0)) == 4


def test_the_padding_of_series_does_not_count() -> None:
    short = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    short[0, 3] = np.nan
    padded = np.concatenate([short, np.full((5, 4, 2), np.nan, np.float32)], axis=1)
    np.testing.assert_array_equal(digest_rows(short), digest_rows(padded))
    np.testing.assert_array_equal(sketch(short, ()), sketch(padded, ()))
    assert len(np.unique(digest_rows(np.delete(short, 3, axis=1)), axis=0)) == 5
    assert (find_rows(digest_rows(np.delete(short, 3, axis=1)), digest_rows(short)) == -1).all()


def test_digests_are_found_by_both_words() -> None:
    among = np.array([[1, 2], [1, 3], [4, 4], [1, 2]], np.uint64)
    keys = np.array([[1, 2], [4, 5], [9, 9], [4, 4]], np.uint64)
    assert find_rows(keys, among).tolist() == [0, -1, -1, 2]
    assert find_rows(keys, among[:0]).tolist() == [-1] * 4
    assert find_rows(keys[:0], among).tolist() == []


def test_every_pair_is_found_where_few_share_a_key() -> None:
    keys = np.random.default_rng(0).integers(0, 1000, (1000, 2))
    everything: Any = lambda first, _second: np.ones(len(first), np.bool_)  # noqa: E731 - a test of any pair
    matches = {tuple(pair) for pair in pairs.neighbours(keys, everything).tolist()}
    expected = {(a, b) for a in range(1000) for b in np.flatnonzero((keys[a + 1 :] == keys[a]).any(axis=1)) + a + 1}
    assert matches == expected


def test_sketches_stay_small_on_disk(tmp_path: Path) -> None:
    assert sketch(digits(100), ()).shape == (50, 33)
    assert sketch(joined(paragraphs()), ()).shape == (len(paragraphs()), 17)
    assert sketch(np.zeros((4, 3), np.float32), ()).shape == (4, 2)
    for empty in (np.zeros((0, 3), np.float32), np.zeros((0, 5, 5, 1), np.uint8), joined([])):
        assert len(sketch(empty, ())) == 0
