"""Which values of a series are hidden, and the loss against a loop over numbers."""

import numpy as np
import pytest
import torch

from app.ml.interfaces import Batch, Encoding
from app.ml.kinds.backbones.gru import ResolvedGru
from app.ml.kinds.backbones.tcn import ResolvedTcn
from app.ml.kinds.methods.masked_steps import MaskedSteps, MaskedStepsObjective, spans


def objective(**fields: float) -> MaskedStepsObjective:
    torch.manual_seed(0)
    config = MaskedSteps.model_validate({"share": 0.5, **fields})
    return config.build(ResolvedGru(width=8, causal=False).build(Encoding(shape=(3, 9))))


def series(rows: int = 6) -> torch.Tensor:
    values = torch.randn(rows, 3, 9, generator=torch.Generator().manual_seed(1))
    values[:, -1] = 1
    values[0, :, 6:] = 0  # a shorter one
    return values


def _hidden(inputs: torch.Tensor) -> torch.Tensor:
    """What the loss of a batch hides under the seed 3."""
    torch.manual_seed(3)
    return spans(inputs[:, :2], 0.5, 3)


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_spans_hide_the_share_that_was_asked_for(share: float, length: int) -> None:
    torch.manual_seed(2)
    hidden = spans(torch.zeros(300, 2, 50), share, length)
    assert hidden.shape == (300, 2, 50)
    assert hidden.float().mean().item() == pytest.approx(share, abs=0.03)
    assert hidden[:, :, 0].float().mean().item() == pytest.approx(share, abs=0.1), "no place is spared"
    assert not torch.equal(hidden[:, 0], hidden[:, 1]), "each channel has its own"


def test_spans_are_as_long_as_was_asked_for() -> None:
    torch.manual_seed(2)
    for row in spans(torch.zeros(50, 1, 40), 0.2, 5)[:, 0].tolist():
        runs = "".join("x" if hidden else " " for hidden in row).strip().split()
        inner = runs[1:-1]  # those at the ends may be cut
        assert all(len(run) >= 5 for run in inner)


def test_the_loss_is_the_error_of_hidden_observed_values() -> None:
    found = objective()
    inputs = series()
    torch.manual_seed(3)
    loss = found.loss(Batch(inputs))["loss"].item()
    hidden = _hidden(inputs)
    shown = inputs.clone()
    shown[:, :2][hidden] = 0
    with torch.no_grad():
        rebuilt = found.rebuild(found.backbone.sequence(shown)).numpy()  # type: ignore[operator]
    errors = [
        (inputs[row, channel, step].item() - rebuilt[row, step, channel]) ** 2
        for row, channel, step in hidden.nonzero().tolist()
        if inputs[row, -1, step] == 1
    ]
    assert loss == pytest.approx(np.mean(errors), rel=1e-5)
    split = found.measure([Batch(inputs[:2]), Batch(inputs[2:])])["loss"]
    assert split.isfinite()


def test_hidden_values_change_nothing_but_what_is_asked() -> None:
    found = objective()
    inputs = series()
    hidden = _hidden(inputs)
    other = inputs.clone()
    other[:, :2] += 5 * hidden
    seen: list[torch.Tensor] = []
    found.backbone.entrance.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))  # type: ignore[operator]
    losses = []
    for values in (inputs, other):
        torch.manual_seed(3)
        losses.append(found.loss(Batch(values))["loss"])
    assert torch.equal(*seen)
    assert losses[1] > losses[0]


def test_a_tcn_learns_to_rebuild_waves_better_than_their_mean() -> None:
    torch.manual_seed(0)
    phase = 6 * torch.rand(64, 1)
    wave = 1.4 * torch.sin(phase + 0.6 * torch.arange(20))
    inputs = torch.stack([wave, torch.ones_like(wave)], dim=1)
    found = MaskedSteps().build(ResolvedTcn(width=16, depth=2, causal=False).build(Encoding(shape=(2, 20))))
    optimizer = torch.optim.Adam(found.parameters(), lr=0.01)
    for _ in range(60):
        loss = found.loss(Batch(inputs))["loss"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert found.measure([Batch(inputs)])["loss"].item() < 0.2


def test_where_nothing_is_hidden_there_is_no_loss() -> None:
    found = objective(share=1e-9)
    assert found.loss(Batch(series()))["loss"].item() == 0
