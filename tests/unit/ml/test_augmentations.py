"""Every augmentation keeps shapes, ranges and labels, does nothing at strength 0, and does what its formula says."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy import ndimage
from torch import Tensor

from app.ml.errors import ConfigError
from app.ml.interfaces import AugmentationConfig, Batch, ResolutionContext
from app.ml.interfaces.tokenizer import BEGIN, END, FIRST, MASK, PADDING, UNKNOWN
from app.ml.kinds.augmentations import AnyAugmentation
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.resolution.network import check_augmentations

ADAPTER: TypeAdapter[AnyAugmentation] = TypeAdapter(AnyAugmentation)
NOTHING: dict[str, dict[str, Any]] = {
    "noise": {"strength": 0},
    "crop": {"smallest": 1, "stretch": 1},
    "shift": {"share": 0},
    "flip": {"horizontal": 0},
    "rotate": {"degrees": 0},
    "colour": {"brightness": 0, "contrast": 0, "saturation": 0},
    "blur": {"probability": 0},
    "erase": {"probability": 0},
    "mixup": {"alpha": 0},
    "cutmix": {"alpha": 0},
    "swap": {"share": 0},
    "mask": {"share": 0},
    "drop": {"share": 0},
    "scale": {"strength": 0},
    "warp": {"strength": 0},
    "window": {"smallest": 1},
    "gap": {"largest": 0},
}
STRONGEST: dict[str, dict[str, Any]] = {
    "noise": {"strength": 1},
    "crop": {"smallest": 0.01, "stretch": 4},
    "shift": {"share": 1},
    "flip": {"horizontal": 1, "vertical": 1},
    "rotate": {"degrees": 180},
    "colour": {"brightness": 1, "contrast": 1, "saturation": 1},
    "blur": {"probability": 1, "widest": 20},
    "erase": {"probability": 1, "largest": 1},
    "mixup": {"alpha": 1},
    "swap": {"share": 1},
    "mask": {"share": 1},
    "drop": {"share": 1},
    "scale": {"strength": 3},
    "warp": {"strength": 3},
    "window": {"smallest": 0.01},
    "gap": {"largest": 1, "count": 16},
}
EVERY = [(kind, modality) for kind, config in kinds(FAMILIES["augmentations"]).items() for modality in config.accepts]


def build(kind: str, **fields: Any) -> AugmentationConfig:
    return ADAPTER.validate_python({"kind": kind, **fields})


def images(rows: int = 40, channels: int = 3) -> Tensor:
    return torch.rand(rows, channels, 12, 9, generator=torch.Generator().manual_seed(1))


def series(rows: int = 40) -> Tensor:
    """Of unequal lengths, with gaps, one observed at its first step alone."""
    random = torch.Generator().manual_seed(2)
    values = torch.randn(rows, 3, 15, generator=random)
    lengths = torch.randint(3, 16, (rows, 1), generator=random)
    observed = (torch.arange(15) < lengths) & (torch.rand(rows, 15, generator=random) < 0.8)
    observed[0], observed[0, 0] = False, True
    observed[1:, 0] = True
    values[:, -1] = observed
    return values * values[:, -1:]


def texts(rows: int = 40) -> Tensor:
    """Codes between begin and end, of unequal lengths, now and then an unknown one; the rest is padding."""
    random = torch.Generator().manual_seed(4)
    codes = torch.randint(FIRST, 30, (rows, 12), generator=random)
    codes[torch.rand(rows, 12, generator=random) < 0.1] = UNKNOWN
    ends = torch.randint(2, 12, (rows, 1), generator=random)
    places = torch.arange(12)
    codes = codes.masked_fill(places == ends, END).masked_fill(places > ends, PADDING)
    codes[:, 0] = BEGIN
    return codes


def rows_of(modality: str) -> Tensor:
    table = torch.randn(40, 6, generator=torch.Generator().manual_seed(3))
    return {"image": images(), "table": table, "series": series(), "text": texts()}[modality]


def applied(kind: str, inputs: Tensor, seed: int = 0, **fields: Any) -> Batch:
    torch.manual_seed(seed)
    return build(kind, **fields).apply(Batch(inputs, {"label": torch.arange(len(inputs))}))


def lengths_of(inputs: Tensor) -> Tensor:
    return (inputs[:, -1] * torch.arange(1, inputs.shape[2] + 1)).amax(1)


@pytest.mark.parametrize(("kind", "modality"), EVERY)
@pytest.mark.parametrize("strongest", [False, True])
def test_shapes_ranges_and_labels_are_kept(kind: str, modality: str, *, strongest: bool) -> None:
    inputs = rows_of(modality)
    before = inputs.clone()
    for seed in range(5):
        after = applied(kind, inputs, seed, **STRONGEST.get(kind, {}) if strongest else {})
        assert torch.equal(inputs, before), "the batch itself stays: it may be the dataset"
        assert after.inputs.shape == inputs.shape
        assert after.inputs.dtype == inputs.dtype
        assert after.inputs.isfinite().all()
        assert torch.equal(after.targets["label"], torch.arange(40))
        if modality == "image":
            assert after.inputs.min() >= 0
            assert after.inputs.max() <= 1 + 1e-6


@pytest.mark.parametrize(("kind", "modality"), EVERY)
def test_the_defaults_change_something_and_rows_differ(kind: str, modality: str) -> None:
    inputs = rows_of(modality)
    same = inputs[5:6].expand_as(inputs).clone() if kind not in ("swap", "mixup", "cutmix") else inputs
    after = applied(kind, same, seed=4).inputs
    changed = (after != same).flatten(1).any(1)
    assert changed.float().mean() > 0.2
    if kind not in ("mixup", "cutmix"):
        assert len(after.flatten(1).unique(dim=0)) > 1, "every row is changed in its own way"


@pytest.mark.parametrize(("kind", "modality"), EVERY)
def test_strength_zero_changes_nothing(kind: str, modality: str) -> None:
    inputs = rows_of(modality)
    after = applied(kind, inputs, **NOTHING[kind])
    assert torch.allclose(after.inputs.double(), inputs.double(), atol=1e-5)
    assert after.mix is None


@pytest.mark.parametrize(("kind", "modality"), [one for one in EVERY if one[1] == "series"])
@pytest.mark.parametrize("strongest", [False, True])
def test_a_series_says_truly_what_was_observed(kind: str, modality: str, *, strongest: bool) -> None:
    inputs = rows_of(modality)
    for seed in range(5):
        after = applied(kind, inputs, seed, **STRONGEST[kind] if strongest else {}).inputs
        observed = after[:, -1]
        assert ((observed == 0) | (observed == 1)).all()
        assert (after[:, :-1].abs().amax(1)[observed == 0] == 0).all(), "nothing stands where nothing was observed"
        assert (observed.sum(1) > 0).all(), "something of every row is left"
        if kind != "mixup":
            assert (lengths_of(after) <= lengths_of(inputs)).all(), "padding stays padding"


@pytest.mark.parametrize(("kind", "modality"), EVERY)
def test_random_numbers_come_from_the_global_generator_alone(kind: str, modality: str) -> None:
    inputs = rows_of(modality)
    first, again, other = (applied(kind, inputs, seed).inputs for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("kind", "modality"), EVERY)
def test_a_batch_of_one_is_no_exception(kind: str, modality: str) -> None:
    assert applied(kind, rows_of(modality)[:1]).inputs.isfinite().all()


def test_a_flip_is_a_mirror() -> None:
    inputs = images()
    assert torch.equal(applied("flip", inputs, horizontal=1).inputs, inputs.flip(3))
    assert torch.equal(applied("flip", inputs, horizontal=0, vertical=1).inputs, inputs.flip(2))


def test_a_shift_of_an_image_moves_whole_pixels_and_lets_black_in() -> None:
    inputs = images() + 0.01
    after = applied("shift", inputs, share=0.3).inputs
    places = {(down, right) for down in range(-4, 5) for right in range(-3, 4)}
    for before, moved in zip(inputs, after, strict=True):
        candidates = [ndimage.shift(before.numpy(), (0, down, right), order=1) for down, right in places]
        assert min(np.abs(one - moved.numpy()).max() for one in candidates) < 1e-4


def test_a_series_is_shifted_round_within_its_length() -> None:
    inputs = series()
    after = applied("shift", inputs, share=0.5).inputs
    for before, moved, length in zip(inputs, after, lengths_of(inputs).long().tolist(), strict=True):
        turns = [torch.equal(before[:, :length].roll(-turn, 1), moved[:, :length]) for turn in range(length)]
        assert any(turns)
        assert torch.equal(before[:, length:], moved[:, length:])


def test_a_rotation_agrees_with_scipy() -> None:
    square = torch.rand(1, 1, 11, 11)
    torch.manual_seed(5)
    angle = (2 * torch.rand(1).item() - 1) * 40
    after = applied("rotate", square, seed=5, degrees=40).inputs
    wanted = ndimage.rotate(square[0, 0].numpy(), angle, reshape=False, order=1, mode="grid-constant")
    assert np.abs(after[0, 0].numpy() - wanted).max() < 1e-4


def test_a_turn_keeps_the_shapes_of_images_that_are_not_square() -> None:
    disc = ((torch.arange(40)[:, None] - 19.5) ** 2 + (torch.arange(60)[None] - 29.5) ** 2 < 15**2).float()
    after = applied("rotate", disc.expand(8, 1, 40, 60), degrees=180).inputs
    assert (after - disc).abs().mean() < 0.02, "a disc stays a disc"


def test_a_crop_shows_a_piece_of_the_area_asked_for() -> None:
    ramp = torch.linspace(0, 1, 64).expand(200, 1, 64, 64)
    after = applied("crop", ramp, smallest=0.25, stretch=1).inputs
    shown = (after[:, 0, 0, -1] - after[:, 0, 0, 0]).square()
    assert 0.2 < shown.min() < 0.35
    assert shown.max() > 0.9


def test_transparency_has_no_colour() -> None:
    for channels in (2, 4):
        inputs = images(channels=channels)
        after = applied("colour", inputs, brightness=1).inputs
        assert torch.equal(after[:, -1], inputs[:, -1])
        assert not torch.equal(after[:, 0], inputs[:, 0])


def test_a_blur_agrees_with_a_gaussian_filter_away_from_the_border() -> None:
    inputs = torch.zeros(1, 1, 41, 41)
    inputs[0, 0, 20, 20] = 1
    torch.manual_seed(6)
    torch.rand(1)
    width = (0.1 + 1.9 * torch.rand(1)).item()
    after = applied("blur", inputs, seed=6, probability=1, widest=2).inputs
    wanted = ndimage.gaussian_filter(inputs[0, 0].numpy(), width, truncate=8)
    assert np.abs(after[0, 0].numpy() - wanted).max() < 1e-3


def test_erased_parts_are_rectangles_of_the_right_size() -> None:
    inputs = torch.full((200, 1, 20, 20), 0.5)
    after = applied("erase", inputs, probability=1, largest=0.3, fill="black").inputs[:, 0] == 0
    for part in after:
        rows, columns = part.any(1), part.any(0)
        assert torch.equal(part, rows[:, None] & columns[None])
    share = after.float().mean((1, 2))
    assert share.max() < 0.36
    assert share.mean() == pytest.approx(0.16, abs=0.03)
    half = applied("erase", inputs, probability=0.5, largest=0.3, fill="black").inputs[:, 0] == 0
    assert half.flatten(1).any(1).float().mean() == pytest.approx(0.5, abs=0.12)


def test_mixup_blends_rows_and_tells_the_labels_shares() -> None:
    inputs = rows_of("table")
    after = applied("mixup", inputs, alpha=1)
    assert after.mix is not None
    share = after.mix.share[:, None]
    assert torch.allclose(after.inputs, share * inputs + (1 - share) * inputs[after.mix.order])
    assert 0 < share[0] < 1
    draws = [applied("mixup", inputs, seed, alpha=0.5).mix for seed in range(400)]
    shares = torch.stack([mix.share[0] for mix in draws if mix is not None])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.06)
    assert shares.var().item() == pytest.approx(1 / 8, abs=0.02), "Beta(a, a) has the variance 1 / (8 a + 4)"


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels() -> None:
    inputs = images(channels=1)
    for seed in range(20):
        after = applied("cutmix", inputs, seed)
        assert after.mix is not None
        own, other = after.inputs == inputs, after.inputs == inputs[after.mix.order]
        assert (own | other).all()
        moved = after.mix.order != torch.arange(len(inputs))
        assert own[moved].float().mean().item() == pytest.approx(after.mix.share[0].item(), abs=1e-6)


def test_two_mixings_of_labels_are_refused() -> None:
    both = (build("mixup"), build("noise"), build("cutmix"))
    context = ResolutionContext("image", (8, 8, 1), 100)
    with pytest.raises(ConfigError, match=r"augmentations.2.kind: rows are mixed by one augmentation before"):
        check_augmentations(both, context, ("augmentations",))  # type: ignore[arg-type]


def test_swapped_values_come_from_their_own_column() -> None:
    inputs = rows_of("table")
    after = applied("swap", inputs, share=0.4).inputs
    for column in range(6):
        assert torch.isin(after[:, column], inputs[:, column]).all()
    assert (after != inputs).float().mean().item() == pytest.approx(0.4, abs=0.08)


def test_masked_values_are_zero() -> None:
    inputs = rows_of("table")
    after = applied("mask", inputs, share=0.4).inputs
    assert ((after == 0) | (after == inputs)).all()
    assert (after == 0).float().mean().item() == pytest.approx(0.4, abs=0.08)


def test_masked_tokens_are_the_mask_and_limits_stay() -> None:
    inputs = texts()
    after = applied("mask", inputs, share=0.4).inputs
    own = (inputs == UNKNOWN) | (inputs >= FIRST)
    assert ((after == MASK) | (after == inputs)).all()
    assert torch.equal(after[~own], inputs[~own])
    assert (after == MASK)[own].float().mean().item() == pytest.approx(0.4, abs=0.1)


def test_dropped_tokens_are_gone_and_the_rest_closes_up_in_order() -> None:
    inputs = texts()
    for share in (0.3, 1):
        after = applied("drop", inputs, share=share).inputs
        for before, left in zip(inputs.tolist(), after.tolist(), strict=True):
            kept = [code for code in left if code != PADDING]
            assert left == kept + [PADDING] * (len(left) - len(kept))
            rest = iter(before)
            assert all(code in rest for code in kept), "in their order"
            assert (kept[0], kept[-1]) == (BEGIN, END)
            assert len(kept) > 2, "something is left"
    own = (inputs == UNKNOWN) | (inputs >= FIRST)
    after = applied("drop", inputs, share=0.3).inputs
    lost = 1 - (after != PADDING).sum().item() / (inputs != PADDING).sum().item()
    assert lost == pytest.approx(0.3 * own.sum().item() / (inputs != PADDING).sum().item(), abs=0.08)


def test_scaling_multiplies_every_channel_by_one_factor() -> None:
    inputs = series().clone()
    after = applied("scale", inputs, strength=0.5).inputs
    factors = (after / inputs)[:, :-1]
    seen = inputs[:, :-1] != 0
    spread = [factors[row, channel][seen[row, channel]] for row in range(40) for channel in range(2)]
    assert all(one.std(unbiased=False) < 1e-5 for one in spread)
    logs = torch.stack([one[0].log() for one in spread])
    assert logs.std().item() == pytest.approx(0.5, abs=0.1)


RAMP = torch.stack([torch.arange(30.0), torch.ones(30)]).expand(50, 2, 30)


@pytest.mark.parametrize(("kind", "ends"), [("warp", True), ("window", False)])
def test_times_only_run_forwards(kind: str, *, ends: bool) -> None:
    after = applied(kind, RAMP).inputs[:, 0]
    assert (after.diff(dim=1) > 0).all()
    if ends:
        assert torch.allclose(after[:, [0, -1]], torch.tensor([0.0, 29.0]), atol=1e-4)
        assert after.diff(dim=1).std() > 0.1
    else:
        pieces = (after[:, -1] - after[:, 0]) / 29
        assert 0.69 < pieces.min() < 0.8
        assert after.diff(dim=1).std(dim=1).max() < 1e-4


def test_a_gap_hides_a_span_of_the_length_asked_for() -> None:
    after = applied("gap", RAMP, largest=0.5).inputs
    hidden = after[:, -1] == 0
    assert hidden.sum(1).max() <= 15
    assert hidden.sum(1).float().mean().item() == pytest.approx(7.5, abs=1.5)
    assert (hidden.float().diff(dim=1) > 0).sum(1).max() <= 1, "one span"
    many = applied("gap", RAMP, largest=0.3, count=5).inputs[:, -1] == 0
    assert many.sum() > hidden.sum()


def test_a_series_with_every_other_step_missing_survives_a_warp() -> None:
    sparse = RAMP.clone()
    sparse[:, :, 1::2] = 0
    for kind in ("warp", "window"):
        observed = applied(kind, sparse).inputs[:, -1]
        assert observed.sum(1).float().mean() > 10


def test_angles_stay_exact_in_half_precision() -> None:
    inputs = images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = applied("crop", inputs).inputs
    assert half.dtype == torch.float32
    assert torch.equal(half, applied("crop", inputs).inputs)


@pytest.mark.parametrize(("kind", "modality"), EVERY)
def test_nothing_loops_over_rows(kind: str, modality: str) -> None:
    inputs = rows_of(modality)
    many = inputs.repeat(64, *[1] * (inputs.ndim - 1))
    calls = [_operations(kind, batch) for batch in (inputs, many)]
    assert calls[0] == calls[1]
    assert calls[0] < 300


def _operations(kind: str, inputs: Tensor) -> int:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        applied(kind, inputs)
    return sum(event.count for event in seen.key_averages())
