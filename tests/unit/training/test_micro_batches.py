"""A step that does not fit into memory is taken in pieces, whose gradients add up to its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch

from app.ml.configs.learning import PretrainingConfig
from app.ml.interfaces import AugmentationConfig, Batch
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.events import Note, StepDone
from worker.training.micro_batches import DeviceMemoryError, split_further
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
    for parameter, other in zip(cut.state.objective.parameters(), whole.state.objective.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-3, atol=1e-4)


def test_pieces_double_until_they_are_as_small_as_may_be() -> None:
    state = pretraining().state
    noted = [split_further(state, 20) for _ in range(3)]
    assert [note.data["pieces"] for note in noted] == [2, 4, 8]
    with pytest.raises(DeviceMemoryError, match="20 rows, even in 8 pieces"):
        split_further(state, 20)


@pytest.mark.parametrize("kind", ["simclr", "vicreg"])
def test_rows_that_are_compared_stay_together(kind: str) -> None:
    with pytest.raises(DeviceMemoryError, match="Lower training"):
        split_further(pretraining(kind).state, 20)


class TooLarge(AugmentationConfig):
    """Stands for a device that has memory for five rows."""

    kind: Literal["too_large"] = "too_large"
    accepts = ("image",)

    def apply(self, batch: Batch) -> Batch:
        if len(batch) > 5:
            raise torch.OutOfMemoryError
        return batch


def test_a_step_that_does_not_fit_is_cut_until_it_does_and_stays_cut(tmp_path: Path) -> None:
    whole, cut = pretraining(), pretraining()
    cut.state.objective.augmentations = (TooLarge(),)
    events = list(cut.train())
    noted = [event.data["pieces"] for event in events if isinstance(event, Note)]
    assert noted == [2, 4], "twenty rows go in pieces of five, and the batch of eight at the end of an epoch does, too"
    assert [event.losses["loss"].item() for event in events if isinstance(event, StepDone)] == pytest.approx(
        losses(whole), rel=1e-4
    )
    cut.state.save(tmp_path / "state.safetensors")
    again = pretraining()
    again.state.load(tmp_path / "state.safetensors")
    assert again.state.progress.pieces == 4


PROGRAM = """
import resource, sys
from pathlib import Path

import torch

from tests.unit.training.test_micro_batches import wide

torch.backends.mkldnn.enabled = False  # it has words of its own for a want of memory
run = wide()
size = lambda name: 1024 * int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])
before = size("VmSize")
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_AS, (before + int(sys.argv[1]),) * 2)
for event in run.train():
    print(type(event).__name__, getattr(event, "data", ""))
print("finite", run.state.is_finite())
print("grew", size("VmPeak") - before)
"""


def wide() -> Run:
    """A step over all rows takes some hundred MB for its hidden layers."""
    data = tiny.images(rows=8000)
    training = {"steps": 2, "batch_size": 8000, "optimizer": {"kind": "sgd", "lr": 0.01}}
    request = {
        "backbone": {"kind": "mlp", "hidden": [1024, 8]},
        "method": {"kind": "autoencoder"},
        "training": training,
    }
    run = prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)
    run.examples("train")
    return run


def run_program(*arguments: str) -> list[str]:
    """What a process of its own says of such a training."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    # So that it takes as much each time: another arena, of 64 MiB, is made when threads collide, and a threshold that
    # grows keeps what was freed.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(128 << 10)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("\n")


@pytest.mark.slow
def test_a_step_that_asks_for_more_memory_than_the_kernel_gives_is_cut() -> None:
    """For real: first without a limit, then with six tenths of what it took."""
    free = run_program()
    assert not any(line.startswith("Note") for line in free)
    grew = int(free[-1].split()[1])
    limited = run_program(str(grew * 6 // 10))
    assert any(line.startswith("Note") and "'pieces': 2" in line for line in limited), limited
    assert sum(line.startswith("StepDone") for line in limited) == 2
    assert "finite True" in limited
