"""The cost of a training, measured on some of its real steps: their seconds, and the memory that they need."""

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

WARM_UP_STEPS, MAX_STEPS, MAX_SECONDS = 3, 2000, 2.0  # many: a busy host stalls a few steps for long
SAFE_SHARE = 0.8  # of the available memory
_PROC, _CGROUP = Path("/proc/self"), Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Seconds of each timed step, and the peak of the memory in bytes."""

    seconds: list[float]
    peak_bytes: int


def seconds_of(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure_steps(training: Run) -> StepCosts:
    """Train some steps and time each; the warm-up's are not counted where there are others."""
    device, seconds = training.state.device, list[float]()
    events, ends = training.train(), time.perf_counter() + MAX_SECONDS
    began = time.perf_counter()
    for event in events:
        if isinstance(event, StepDone):
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # the step is only queued: wait until it has run
            seconds.append(time.perf_counter() - began)
            late = time.perf_counter() > ends and len(seconds) > WARM_UP_STEPS
            if late or len(seconds) == WARM_UP_STEPS + MAX_STEPS:
                break
        began = time.perf_counter()
    return StepCosts(seconds[min(WARM_UP_STEPS, len(seconds) - 1) :], peak_bytes(device))


def batch_sizes(size: int, rows: int) -> list[int]:
    """The batch sizes at which memory is measured: the configured one, and larger ones."""
    return sorted({min(factor * size, rows) for factor in (1, 2, 4)})


def largest_batch(peaks: dict[int, int], available: int, rows: int) -> int | None:
    """The largest batch that is safe by a line through the measured peaks (size: bytes); None: not even the first."""
    safe = SAFE_SHARE * available
    fitting = [size for size, peak in peaks.items() if peak <= safe]
    if not fitting:
        return None
    # The steepest part of the line through the points: memory must not be promised that the next rows may need.
    pairs = itertools.pairwise(sorted(peaks.items()))
    slope = max(((more - less) / (large - small) for (small, less), (large, more) in pairs), default=0.0)
    if slope <= 0:
        return max(fitting)
    size = max(fitting)
    return min(rows, size + int((safe - peaks[size]) / slope))


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_bytes` count from now on."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # where it is not allowed the peak is that of the whole process so far
        (_PROC / "clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """The most bytes in use at once since `reset_peak_memory`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = (_PROC / "status").read_text().splitlines()  # psutil knows no peak that can be reset
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def available_bytes(device: torch.device) -> int:
    """The bytes that this process may use in all: those that it uses, and those that are free."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # no control group, or no limit ("max")
        used = int((_CGROUP / "memory.current").read_text())
        free = min(free, int((_CGROUP / "memory.max").read_text()) - used)
    return psutil.Process().memory_info().rss + max(free, 0)
