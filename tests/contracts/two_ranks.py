"""A rank of the contract suite's trainings, one after another: `python -m tests.contracts.two_ranks FOLDER RANK`.

Both ranks prepare each training by themselves, as the worker's ranks do. Rank 0 leads it with replicated or sharded
weights, trains the same in one process, and writes what both gave into FOLDER/answers.json.
"""

import json
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from app.ml.errors import ConfigError
from app.ml.resolution.devices import check_splittable
from tests.contracts.sharing_cases import CASES, SharingCase
from worker.distributed.collectives import Ranks
from worker.distributed.meeting import LOOPBACK, use_interface_of
from worker.training.events import StepDone
from worker.training.loop import follow
from worker.training.run import Run

RANKS = 2
_STALLED = timedelta(seconds=120)  # where one rank fails, the other one notices after so long


def main() -> None:
    """Run the cases that FOLDER/cases.json names, as [name, sharding]."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    use_interface_of(LOOPBACK)
    cases = json.loads((folder / "cases.json").read_text())
    answers = [_answer_or_error(CASES[name], sharding, folder / f"{name}-{sharding}", rank) for name, sharding in cases]
    if rank == 0:
        (folder / "answers.json").write_text(json.dumps(answers))


def _answer_or_error(case: SharingCase, sharding: str, folder: Path, rank: int) -> dict[str, Any]:
    # Each case has connections of its own: where one rank fails, the other one notices, and both go on.
    folder.mkdir(exist_ok=True)
    store = dist.FileStore(str(folder / "meeting"), RANKS)
    ranks = Ranks.join(store, rank, RANKS, torch.device("cpu"), _STALLED)
    try:
        return _answer(case, sharding, ranks)
    except Exception:  # noqa: BLE001 - the test of this case shows it
        return {"error": traceback.format_exc()}
    finally:
        ranks.leave()


def _answer(case: SharingCase, sharding: str, ranks: Ranks) -> dict[str, Any]:
    run = case.run()
    try:
        check_splittable(run.config, RANKS)
    except ConfigError as error:
        return {"refused": str(error)}
    run.state.ranks, run.state.sharded = ranks, sharding == "shard"
    if ranks.rank > 0:
        follow(run.state, run.examples("train"), run.plan, ranks.announced_steps())
        return {}
    shared = _trained(run)
    ranks.finish()
    ranks.announce_end()
    alone = _trained(case.run())
    names = [name for name, _ in run.state.objective.named_parameters()]
    apart = torch.stack([(shared.weights[name] - alone.weights[name]).norm() for name in names]).norm()
    moved = torch.stack([(alone.first[name] - alone.weights[name]).norm() for name in names]).norm()
    differences = [
        ((shared.weights[name] - values).abs() / values.abs().clamp(min=1)).max()
        for name, values in alone.weights.items()
    ]
    return {
        "losses": {name: (values, alone.losses[name]) for name, values in shared.losses.items()},
        "difference": max(map(float, differences)),
        "relative": float(apart / moved),
    }


@dataclass
class Trained:
    """The losses of every step, and the weights before and after them."""

    losses: dict[str, list[float]]
    first: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]


def _trained(run: Run) -> Trained:
    first = _weights(run)
    steps = [event.losses for event in run.train() if isinstance(event, StepDone)]
    losses = {name: [losses[name].item() for losses in steps] for name in steps[0]}
    return Trained(losses, first, _weights(run))


def _weights(run: Run) -> dict[str, torch.Tensor]:
    tensors = run.state.objective.state_dict()
    return {name: value.double() for name, value in tensors.items() if value.isfinite().all()}


if __name__ == "__main__":
    main()
