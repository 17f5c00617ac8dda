"""Whether a training on several devices shards its weights: as it is asked for, or where they would not fit on one."""

import torch

from app.jobs.interface import Sharding
from app.ml.spec import Decision
from worker.training.events import Note
from worker.training.run import Run

_SHARE = 0.5  # of a GPU's memory: activations, and the weights that the leader gathers, take the rest


def settle_sharding(training: Run, requested: Sharding, devices: int) -> Note | None:
    """Let the state be sharded or not; return why, where that was left open."""
    if devices == 1 or training.plan.solves:
        return None
    decision = None if requested != "auto" else choose_sharding(state_bytes(training), _memory(training.state.device))
    chosen = requested if decision is None else decision.value
    training.state.sharded = chosen == "shard"
    if decision is None:
        return None
    message = f"{decision.field} is {decision.value}: {decision.reason}."
    return Note("sharding.settled", message, decision.model_dump())


def choose_sharding(needed: int, memory: int | None) -> Decision:
    """Choose for weights, gradients and moments of `needed` bytes and GPUs of `memory` bytes, None being a CPU."""
    if memory is None:
        reason = "on a CPU the processes of a machine share its memory"
        return Decision(field="resources.sharding", value="replicate", reason=reason)
    reason = f"weights, gradients and moments take {needed / 1e9:.2f} of a GPU's {memory / 1e9:.2f} GB"
    fits = needed <= _SHARE * memory
    return Decision(
        field="resources.sharding",
        value="replicate" if fits else "shard",
        reason=f"{reason}; {'at most' if fits else 'more than'} half of them",
    )


def state_bytes(training: Run) -> int:
    """Return the bytes of weights, gradients and moments: what sharding divides by the number of devices."""
    weights = sum(values.nbytes for values in training.state.objective.parameters())
    trained = sum(int(values.nbytes) for group in training.state.optimizer.param_groups for values in group["params"])
    return weights + trained * (1 + training.config.training.optimizer.moments)


def _memory(device: torch.device) -> int | None:
    return int(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else None
