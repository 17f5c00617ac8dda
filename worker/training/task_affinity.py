"""Measuring task affinity, which head's learning helps which: a few times in a training, on a batch of it."""

import math

import torch

from app.ml.data.arrays import Examples
from app.ml.fitting.evaluation import fixed_seed
from app.ml.interfaces import Objective
from app.ml.models.assembly import FineTuning
from worker.training.batches import epoch_order
from worker.training.loop import Plan

_MEASUREMENTS = 5  # evenly over a training: a few per cent of its cost


def is_due(plan: Plan, epoch: int, step: int) -> bool:
    """Whether to measure after this epoch, counted from 0."""
    epochs = math.ceil(plan.total_steps / plan.steps_per_epoch)
    return (epoch + 1) % math.ceil(epochs / _MEASUREMENTS) == 0 or step >= plan.total_steps


def measure_task_affinity(objective: Objective, examples: Examples, plan: Plan, epoch: int) -> None:
    """Look ahead on as many train rows as a step takes, in eval mode; weights and generators stay as they are."""
    if not isinstance(objective, FineTuning) or objective.affinity is None or not objective.shared():
        return
    affinity, shared = objective.affinity, objective.shared()
    # The rows of the epoch's first step, again: a function of seed and epoch, so that a resumed run measures the same.
    batch = examples.batch(epoch_order(plan.rows, plan.config.seed, epoch, examples.shards)[: plan.batch_size])
    objective.eval()
    # cuDNN's recurrent layers have no backward pass in eval mode.
    with fixed_seed(objective), torch.backends.cudnn.flags(enabled=False):
        affinity.measure(lambda: objective.batch_losses(batch), objective.present(batch), shared)
    objective.train()
