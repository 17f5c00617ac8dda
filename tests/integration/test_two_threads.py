"""A trainer with two threads repeats itself bit for bit; without its environment it does not (see docs/log.md)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.process.trainer_process import environment

ROOT = Path(__file__).parents[2]
CODE = """
import torch
from app.ml.configs.learning import PretrainingConfig
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.events import StepDone
from worker.training.run import prepare

def trained():
    data = tiny.images(48)  # the last batch of an epoch has one row: the case that differed
    network = {"backbone": {"kind": "convnet"}, "method": {"kind": "autoencoder"}}
    request = {**network, "training": {"batch_size": 7, "epochs": 3}}
    config = resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config
    run = prepare(config, data)
    losses = torch.stack([event.losses["loss"] for event in run.train() if isinstance(event, StepDone)])
    return [losses, *run.state.objective.state_dict().values()]

assert torch.get_num_threads() == 2
first = trained()
print(sum(not all(map(torch.equal, trained(), first)) for _ in range(3)))
"""


# Where it matters, 273 of 300 gradients of such a batch differed without MKL_CBWR (docs/log.md): three trainings meet
# three of them each: that none differs has a chance below one in a million. Threads that wait sleep (PASSIVE): those
# that spin take the cores of a busy machine from those that they wait for.
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_threads_give_the_same_losses_in_every_run() -> None:
    plain = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_CBWR")}
    given = {name: value for name, value in environment(2).items() if name in ("OMP_NUM_THREADS", "MKL_CBWR")}
    assert set(given) == {"OMP_NUM_THREADS", "MKL_CBWR"}
    variables = {**plain, **given, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", CODE], env=variables, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "0", result.stderr
