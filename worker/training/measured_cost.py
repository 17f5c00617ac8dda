"""What a training costs, measured on some of its real steps."""

import contextlib
import gc
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from worker.training.events import StepDone
from worker.training.run import Run

WARM_UP, MAX_STEPS, MAX_SECONDS = 3, 2000, 2.0  # many: a busy host stalls a few steps for long
MARGIN = 0.8
_PROC, _CGROUP = Path("/proc/self"), Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Steps:
    """Seconds of the timed steps, and the most bytes that were held."""

    seconds: list[float]
    peak_bytes: int


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def run_steps(training: Run) -> Steps:
    """Train some steps; the first ones are not timed where there are others."""
    device, seconds = training.state.device, list[float]()
    stepping, ends = training.train(), time.perf_counter() + MAX_SECONDS
    began = time.perf_counter()
    for event in stepping:
        if isinstance(event, StepDone):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - began)
            late = time.perf_counter() > ends and len(seconds) > WARM_UP
            if late or len(seconds) == WARM_UP + MAX_STEPS:
                break
        began = time.perf_counter()
    return Steps(seconds[min(WARM_UP, len(seconds) - 1) :], peak_bytes(device))


def batch_sizes(size: int, rows: int) -> list[int]:
    """The sizes that memory is measured at."""
    return sorted({min(factor * size, rows) for factor in (1, 2, 4)})


def largest_batch(peaks: dict[int, int], available: int, rows: int) -> int | None:
    """The largest batch that is safe by a line through the measured peaks (size: bytes); None: not even the first."""
    room = MARGIN * available
    fits = [size for size, peak in peaks.items() if peak <= room]
    if not fits:
        return None
    pairs = itertools.pairwise(sorted(peaks.items()))
    slope = max(((more - less) / (large - small) for (small, less), (large, more) in pairs), default=0.0)
    if slope <= 0:
        return max(fits)
    size = max(fits)
    return min(rows, size + int((room - peaks[size]) / slope))


def forget_peak(device: torch.device) -> None:
    """Count the peak from now on."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # where it is not allowed the peak is that of the whole process so far
        (_PROC / "clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """The most bytes held since `forget_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = (_PROC / "status").read_text().splitlines()  # psutil knows no peak that can be reset
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def available_bytes(device: torch.device) -> int:
    """What this process may hold in all."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # no control group, or no limit ("max")
        used = int((_CGROUP / "memory.current").read_text())
        free = min(free, int((_CGROUP / "memory.max").read_text()) - used)
    return psutil.Process().memory_info().rss + max(free, 0)
