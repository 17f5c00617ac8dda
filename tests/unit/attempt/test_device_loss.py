"""A GPU that is gone ends the process with its own code; what a training did wrong does not."""

import pytest
import torch

from worker.attempt.exit_codes import DEVICE_LOST
from worker.process.device_loss import leaving_a_lost_device


@pytest.mark.parametrize(
    "said", ["unknown error", "uncorrectable ECC error encountered", "no CUDA-capable device is detected"]
)
def test_a_lost_gpu_ends_the_process(said: str) -> None:
    error = torch.AcceleratorError(f"CUDA error: {said}\nCUDA kernel errors might be asynchronously reported")
    with pytest.raises(SystemExit) as ended, leaving_a_lost_device():
        raise error
    assert ended.value.code == DEVICE_LOST


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("an unknown error of ours"),
    ],
)
def test_anything_else_is_the_trainings_own(error: RuntimeError) -> None:
    with pytest.raises(type(error)), leaving_a_lost_device():
        raise error
