"""A trainer with two threads repeats itself bit for bit; without its environment it does not (see docs/log.md)."""

import os
import subprocess
import sys
from pathlib import Path

from worker.trainer_process import environment

ROOT = Path(__file__).parents[2]
CODE = """
import torch
from app.ml.configs import PretrainingConfig
from app.ml.recipes import resolve_pretraining
from tests.support import tiny
from worker.training.events import StepDone
from worker.training.run import prepare

def losses():
    data = tiny.images(48)  # its last batch has one row: the case that differed
    request = {"backbone": {"kind": "convnet"}, "training": {"batch_size": 7, "epochs": 8}}
    config = resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config
    events = prepare(config, data).train()
    return [event.losses["loss"].item() for event in events if isinstance(event, StepDone)]

assert torch.get_num_threads() == 2
first = losses()
print(sum(losses() != first for _ in range(10)))
"""


def test_two_threads_give_the_same_losses_in_every_run() -> None:
    plain = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_CBWR")}
    told = {name: value for name, value in environment(2).items() if name in ("OMP_NUM_THREADS", "MKL_CBWR")}
    assert set(told) == {"OMP_NUM_THREADS", "MKL_CBWR"}
    variables = {**plain, **told, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", CODE], env=variables, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "0", result.stderr
