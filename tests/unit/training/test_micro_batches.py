"""A step that does not fit into memory is taken in pieces, whose gradients add up to its own."""

import subprocess
import sys

import pytest
import torch

from app.ml.configs import PretrainingConfig
from app.ml.recipes import resolve_pretraining
from tests.support import tiny
from worker.training.events import StepDone
from worker.training.micro_batches import DeviceMemoryError, with_less_memory
from worker.training.run import Run, prepare


def pretraining(kind: str = "autoencoder", batch_size: int = 20) -> Run:
    data = tiny.images()
    training = {"steps": 5, "batch_size": batch_size, "optimizer": {"kind": "sgd", "lr": 0.01}}
    request = {"backbone": {"kind": "mlp", "hidden": [16, 8]}, "method": {"kind": kind}, "training": training}
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


def losses(run: Run) -> list[float]:
    return [event.losses["loss"].item() for event in run.train() if isinstance(event, StepDone)]


@pytest.mark.parametrize("batch_size", [20, 48])
@pytest.mark.parametrize("pieces", [2, 8])
def test_pieces_learn_what_the_whole_learns(pieces: int, batch_size: int) -> None:
    whole, cut = pretraining(batch_size=batch_size), pretraining(batch_size=batch_size)
    cut.state.progress.pieces = pieces
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-4)
    for mine, other in zip(cut.state.objective.parameters(), whole.state.objective.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_pieces_double_until_they_are_as_small_as_may_be() -> None:
    state = pretraining().state
    noted = [with_less_memory(state, 20) for _ in range(3)]
    assert [one.data["pieces"] for one in noted] == [2, 4, 8]
    with pytest.raises(DeviceMemoryError, match="20 rows, even in 8 pieces"):
        with_less_memory(state, 20)


@pytest.mark.parametrize("kind", ["simclr", "vicreg"])
def test_rows_that_are_compared_stay_together(kind: str) -> None:
    with pytest.raises(DeviceMemoryError, match="Lower training"):
        with_less_memory(pretraining(kind).state, 20)


PROGRAM = """
import resource
from pathlib import Path

import torch

from tests.unit.training.test_micro_batches import wide

run = wide()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20,) * 2)
for event in run.train():
    print(type(event).__name__, getattr(event, "data", ""))
print(run.state.is_finite())
"""


def wide() -> Run:
    """A step over all rows takes some 400 MB for its hidden layers, an eighth of it 50."""
    data = tiny.images(rows=16_000)
    training = {"steps": 2, "batch_size": 16_000, "optimizer": {"kind": "sgd", "lr": 0.01}}
    request = {"backbone": {"kind": "mlp", "hidden": [1024, 8]}, "training": training}
    run = prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)
    run.examples("train")
    return run


def test_a_step_that_asks_for_more_memory_than_there_is_is_cut() -> None:
    """In a process of its own, that the kernel gives no more memory."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = done.stdout.split("\n")
    assert any(line.startswith("Noted") and "'pieces': 2" in line for line in told), done.stdout
    assert sum(line.startswith("StepDone") for line in told) == 2
    assert "True" in told
