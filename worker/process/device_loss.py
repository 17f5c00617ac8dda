"""A GPU that went away under a training: its process cannot go on, and can write nothing into the job that is true."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from worker.attempt.exit_codes import DEVICE_LOST

log = logging.getLogger(__name__)

# What CUDA says when the device, its memory or its link is at fault. A failed assertion or a bad address is not among
# them: that is the training's own fault, which another attempt would only repeat.
_LOST = re.compile(
    r"device\(s\) is/are busy or unavailable|no CUDA-capable device|uncorrectable|unknown error|GPU is lost"
    r"|initialization error|system not yet initialized|hardware stack error|device not ready for",
    re.IGNORECASE,
)


@contextmanager
def leaving_a_lost_device() -> Iterator[None]:
    """End the process with `DEVICE_LOST` where the GPU is gone."""
    try:
        yield
    except RuntimeError as error:
        if not is_lost(error):
            raise
        log.exception("the device is lost")
        raise SystemExit(DEVICE_LOST) from error


def is_lost(error: RuntimeError) -> bool:
    """Tell whether it is the device that failed, and not what was asked of it."""
    of_device = isinstance(error, torch.AcceleratorError) or str(error).startswith("CUDA")
    return of_device and _LOST.search(str(error)) is not None
