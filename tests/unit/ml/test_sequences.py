"""Backbones that read step by step, against their formulas; and what none of them may see."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.ml.blocks.attention import Attention, rotated
from app.ml.blocks.input_embedding import pooled
from app.ml.blocks.ngrams import NGrams
from app.ml.errors import ConfigError
from app.ml.interfaces import Encoding, ResolutionContext
from app.ml.kinds.backbones.gru import Gru
from app.ml.kinds.backbones.lstm import Lstm, ResolvedLstm
from app.ml.kinds.backbones.tcn import DilatedConvolution, Tcn
from app.ml.kinds.backbones.transformer import Transformer

TEXT, SERIES = Encoding(shape=(9,), vocabulary=20), Encoding(shape=(3, 9))
KINDS = [Transformer(width=16, depth=2, heads=2), Transformer(width=16, depth=2, heads=2, positions="learned")]
NGRAMS = Transformer(width=16, depth=2, heads=2, ngrams=3, ngram_slots=64)
ALL = [*KINDS, NGRAMS, Gru(width=16), Lstm(width=16), Tcn(width=16, depth=2)]
EACH = pytest.mark.parametrize("config", ALL, ids=["rotary", "learned", "ngrams", "gru", "lstm", "tcn"])
EITHER = pytest.mark.parametrize("causal", [True, False])


def built(config: Any, causal: bool, encoding: Encoding = TEXT, **changes: Any) -> Any:
    torch.manual_seed(0)
    kind, fields = config.resolved_type(), dict(config)
    backbone = kind.model_validate({**fields, "causal": causal, **changes}).build(encoding).eval()
    with torch.no_grad():  # fresh biases are nearly nothing: every term shall count
        for values in backbone.parameters():
            values.add_(0.1 * torch.randn_like(values))
    return backbone


def texts(rows: int = 3, steps: int = 9) -> Tensor:
    return torch.randint(1, 20, (rows, steps), generator=torch.Generator().manual_seed(1))


def series(rows: int = 3, steps: int = 9) -> Tensor:
    values = torch.randn(rows, 3, steps, generator=torch.Generator().manual_seed(1))
    values[:, -1] = 1
    return values


@EACH
def test_a_causal_one_does_not_look_ahead(config: Any) -> None:
    codes = texts()
    other = codes.clone()
    other[:, 5:] = 3
    for causal in (True, False):
        backbone = built(config, causal)
        same = torch.allclose(backbone.sequence(codes)[:, :5], backbone.sequence(other)[:, :5], atol=1e-6)
        assert same == causal


@EACH
@EITHER
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_padding_behind_a_text_changes_nothing(config: Any, causal: bool, pooling: str) -> None:
    backbone = built(config, causal, pooling=pooling)
    codes = texts(steps=6)
    padded = torch.cat((codes, torch.zeros(3, 3, dtype=torch.int64)), dim=1)
    assert torch.allclose(backbone(codes), backbone(padded), atol=1e-5)
    for short, long in zip(backbone.layers(codes), backbone.layers(padded), strict=True):
        assert torch.allclose(short, long, atol=1e-5)


@EACH
@EITHER
def test_padding_behind_a_series_changes_nothing(config: Any, causal: bool) -> None:
    backbone = built(config, causal, SERIES)
    values = series(steps=6)
    padded = torch.cat((values, torch.zeros(3, 3, 3)), dim=2)
    assert torch.allclose(backbone(values), backbone(padded), atol=1e-5)


@EITHER
@pytest.mark.parametrize("config", [KINDS[0], ALL[-1]], ids=["transformer", "tcn"])
def test_a_step_that_was_not_observed_is_seen_by_nobody(config: Any, causal: bool) -> None:
    backbone = built(config, causal, SERIES)
    values = series()
    values[:, -1, 4] = 0
    other = values.clone()
    other[:, :2, 4] = 77
    keep = [0, 1, 2, 3, 5, 6, 7, 8]
    assert torch.allclose(backbone.sequence(values)[:, keep], backbone.sequence(other)[:, keep], atol=1e-5)
    assert torch.allclose(backbone(values), backbone(other), atol=1e-5)
    nothing = torch.zeros(1, 3, 9)
    assert backbone(nothing).isfinite().all()


@EACH
def test_advancing_step_by_step_is_reading_at_once(config: Any) -> None:
    backbone = built(config, causal=True)
    codes = texts()
    whole = backbone.sequence(codes)
    first, state = backbone.advance(codes[:, :4], [])
    found = [first]
    for step in range(4, 9):
        more, state = backbone.advance(codes[:, step : step + 1], state)
        found.append(more)
    assert torch.allclose(torch.cat(found, dim=1), whole, atol=1e-5)
    turned, _ = backbone.advance(codes[:, 4:5], [part[[2, 0, 1]] for part in backbone.advance(codes[:, :4], [])[1]])
    assert turned.shape == (3, 1, 16)


@EACH
def test_every_parameter_belongs_to_one_stage_in_order(config: Any) -> None:
    for causal in (True, False):
        backbone = built(config, causal)
        stages = [parameter for stage in backbone.stages() for parameter in stage]
        assert len(stages) == len(set(map(id, stages))) == len(list(backbone.parameters()))


def test_runs_of_codes_are_looked_up_where_they_end() -> None:
    torch.manual_seed(0)
    runs = NGrams(longest=3, slots=1000, width=4)
    codes = texts(rows=2, steps=5)
    found = runs(codes)
    for row in range(2):
        padded = [0, 0, *codes[row].tolist()]
        for step in range(5):
            pair, triple = padded[step + 1 : step + 3], padded[step : step + 3]
            slots = [_slot(pair[::-1]), _slot(triple[::-1])]
            expected = runs.tables[0].weight[slots[0]] + runs.tables[1].weight[slots[1]]
            assert torch.allclose(found[row, step], expected)
    assert len({_slot([a, b, c]) for a in range(10) for b in range(10) for c in range(10)}) > 500, "they spread out"
    assert runs.context(codes[:, :1]).tolist() == [[0, int(row[0])] for row in codes]


def _slot(codes_from_the_last: list[int]) -> int:
    hashed = codes_from_the_last[0]
    for code in codes_from_the_last[1:]:
        hashed = (hashed * 2_654_435_761 + code) % (2**31 - 1)
    return hashed % 1000


def test_attention_is_as_published() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2, 0.0, rotary=False)
    values = torch.randn(2, 5, 8)
    query, key, value = attention.to_all(values).split(8, dim=2)
    parts = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[:, :, head] @ key[:, :, head].transpose(1, 2) / math.sqrt(4)
        scores = scores.masked_fill(torch.ones(5, 5).triu(1) > 0, -math.inf)
        parts.append(scores.softmax(2) @ value[:, :, head])
    expected = attention.out(torch.cat(parts, dim=2))
    assert torch.allclose(attention(values, None, causal=True), expected, atol=1e-6)


def test_training_in_bfloat16_attends_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = Attention(32, 2, 0.0, rotary=True).bfloat16()
    values = torch.randn(3, 7, 32).bfloat16()
    seen = torch.rand(3, 1, 1, 7) > 0.3
    seen[..., 0] = True
    for mask, causal in ((None, True), (None, False), (seen, False), (seen & torch.ones(7, 7).tril().bool(), False)):
        products = attention(values, mask, causal=causal)
        with torch.no_grad():  # the fused kernel
            fused = attention(values, mask, causal=causal)
        assert torch.allclose(products.float(), fused.float(), atol=2e-2)
        assert not torch.equal(products, torch.zeros_like(products))


def test_rotary_positions_turn_pairs_and_only_distances_matter() -> None:
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    turned = rotated(query, 3)[0, 0, 0]
    low, high = torch.view_as_real(
        torch.complex(query[0, 0, 0, :4], query[0, 0, 0, 4:]) * torch.exp(1j * 3 * 10_000.0 ** (-torch.arange(4) / 4))
    ).unbind(1)
    assert torch.allclose(turned, torch.cat((low, high)), atol=1e-6)
    near = (rotated(query, 5) * rotated(key, 2)).sum()
    far = (rotated(query, 105) * rotated(key, 102)).sum()
    assert torch.allclose(near, far, atol=1e-4)
    assert not torch.allclose(near, (rotated(query, 5) * rotated(key, 3)).sum(), atol=1e-4)


def test_gru_and_lstm_are_as_published() -> None:
    gru, lstm = built(Gru(width=4, depth=1), causal=True), built(Lstm(width=4, depth=1), causal=True)
    codes = texts(rows=2, steps=5)
    for backbone, step in ((gru, _gru_step), (lstm, _lstm_step)):
        hidden = cell = torch.zeros(2, 4)
        for t in range(5):
            hidden, cell = step(backbone.forwards[0], backbone.entrance.table(codes[:, t]), hidden, cell)
            assert torch.allclose(backbone.sequence(codes)[:, t], hidden, atol=1e-6)


def _gates(cell: nn.Module, x: Tensor, h: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    from_x = x @ cell.weight_ih_l0.T + cell.bias_ih_l0  # type: ignore[operator, union-attr]
    from_h = h @ cell.weight_hh_l0.T + cell.bias_hh_l0  # type: ignore[operator, union-attr]
    return list(from_x.split(4, dim=1)), list(from_h.split(4, dim=1))


def _gru_step(cell: nn.Module, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    (xr, xz, xn), (hr, hz, hn) = _gates(cell, x, h)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    return (1 - z) * torch.tanh(xn + r * hn) + z * h, c


def _lstm_step(cell: nn.Module, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = (one + other for one, other in zip(*_gates(cell, x, h), strict=True))
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def test_reading_both_ways_is_two_readings_of_each_row() -> None:
    backbone = built(Gru(width=4, depth=1), causal=False)
    codes = torch.tensor([[5, 6, 7, 0, 0], [8, 9, 3, 4, 2]])
    found = backbone.sequence(codes)
    for row, length in ((0, 3), (1, 5)):
        values = backbone.entrance(codes[row : row + 1, :length])
        ahead, back = backbone.forwards[0](values)[0], backbone.backwards[0](values.flip(1))[0].flip(1)
        assert torch.allclose(found[row : row + 1, :length], torch.cat((ahead, back), dim=2), atol=1e-6)


def test_a_forget_gate_starts_open() -> None:
    cell = ResolvedLstm(width=4, depth=1, causal=True).build(TEXT).forwards[0]
    both = cell.bias_ih_l0 + cell.bias_hh_l0  # type: ignore[operator]
    assert torch.equal(both[4:8], torch.ones(4))


def test_features_are_the_mean_or_the_last_observed_step() -> None:
    steps = torch.arange(12.0).view(1, 4, 3)
    there = torch.tensor([[True, False, True, False]])
    assert pooled(steps, there, "mean").tolist() == [[3.0, 4.0, 5.0]]
    assert pooled(steps, there, "last").tolist() == [[6.0, 7.0, 8.0]]


@EACH
def test_whether_it_looks_ahead_is_settled_by_who_asks(config: Any) -> None:
    ahead, only_back = ResolutionContext("text", (9,), 10), ResolutionContext("text", (9,), 10, causal=True)
    assert config.resolve(ahead)[0].causal is False
    assert config.resolve(only_back)[0].causal is True
    with pytest.raises(ConfigError, match="must not look ahead"):
        config.model_copy(update={"causal": False}).resolve(only_back)


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="no multiple"):
        Transformer(width=20, heads=4)


@EITHER
@pytest.mark.parametrize(("kernel", "depth"), [(2, 3), (3, 1), (3, 3), (5, 2)])
def test_a_tcn_sees_as_far_as_its_formula_says(kernel: int, depth: int, causal: bool) -> None:
    config = Tcn(width=4, depth=depth, kernel=kernel)
    steps, place = 2 * config.receptive_field + 1, config.receptive_field
    backbone = built(config, causal, Encoding(shape=(3, steps)))
    for convolution in (one for one in backbone.modules() if isinstance(one, DilatedConvolution)):
        convolution.weight.data.abs_()  # so that no relu cuts a path off
        convolution.bias.data.fill_(1)
    values = series(1, steps).requires_grad_()
    backbone.sequence(values)[0, place].abs().sum().backward()
    assert values.grad is not None
    seen = values.grad[0, 0].ne(0).nonzero().flatten()
    assert seen[-1] - seen[0] + 1 == config.receptive_field
    halves = [2 * ((kernel - 1) * 2**level // 2) for level in range(depth)]
    assert place - seen[0] == (config.receptive_field - 1 if causal else sum(halves))


def test_a_block_of_a_tcn_is_as_published() -> None:
    block = built(Tcn(width=4, depth=2), causal=True).blocks[1]
    values = torch.randn(2, 4, 9)

    def convolved(inputs: Tensor, one: DilatedConvolution) -> Tensor:
        length = one.weight.square().sum((1, 2)).sqrt()
        result = torch.zeros_like(inputs)
        for step in range(9):
            for tap in range(3):
                place = step - 2 * (2 - tap)
                if place >= 0:
                    kernel = one.weight[:, :, tap] * (one.gain / length)[:, None]
                    result[:, :, step] += inputs[:, :, place] @ kernel.T
        return result + one.bias[:, None]

    inner = convolved(convolved(values, block.first).relu(), block.second).relu()
    everything = torch.ones(2, 1, 9, dtype=torch.bool)
    assert torch.allclose(block(values, everything), (values + inner).relu(), atol=1e-5)


def test_a_fresh_tcn_is_one_without_weight_normalisation() -> None:
    torch.manual_seed(0)
    one = DilatedConvolution(4, 3, 2, causal=True)
    values = torch.randn(2, 4, 9)
    plain = torch.nn.functional.conv1d(torch.nn.functional.pad(values, (4, 0)), one.weight, one.bias, dilation=2)
    assert torch.allclose(one(values), plain, atol=1e-6)
