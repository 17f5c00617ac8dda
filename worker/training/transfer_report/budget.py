"""The budget of a transfer report, and what each arm's trainings cost.

On a CPU the budget is CPU seconds of the job's process: on a busy machine the same comparison costs the same. The CPU
does not know what a GPU works on, so that on a GPU it is wall seconds.
"""

import math
import time
from dataclasses import dataclass, field

import torch

_MARGIN = 1.2  # of a budget that is recommended: the next run's trainings may take longer than this one's


@dataclass
class Budget:
    """The seconds that a report may take and has taken, and the seconds of its trainings by arm."""

    seconds: float
    device: torch.device
    trainings: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.now

    @property
    def unit(self) -> str:
        """What the seconds are, as words."""
        return "wall seconds" if self.device.type == "cuda" else "CPU seconds"

    @property
    def now(self) -> float:
        """The clock's seconds."""
        return time.monotonic() if self.device.type == "cuda" else time.process_time()

    @property
    def spent(self) -> float:
        """Seconds since the report began."""
        return self.now - self._began

    def record(self, arm: str, seconds: float) -> None:
        """Count a training, or for one that was broken off the seconds that it would have taken."""
        self.trainings.setdefault(arm, []).append(seconds)

    def seconds_of(self, arm: str) -> float:
        """Seconds of one training of an arm; of one that was never trained, those of the dearest other."""
        means = {name: sum(seconds) / len(seconds) for name, seconds in self.trainings.items()}
        return means.get(arm, max(means.values(), default=self.spent))


def recommended(seconds: float) -> float:
    """The budget in which trainings of so many seconds are sure to fit, rounded up to two digits."""
    padded = seconds * _MARGIN
    unit = 10.0 ** (math.floor(math.log10(max(padded, 1e-3))) - 1)
    return round(math.ceil(padded / unit) * unit, 6)
