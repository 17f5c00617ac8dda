"""The learning rate of a step, as a share of the configured one."""

import math

from app.ml.kinds.schedules import Cosine, ResolvedSchedule


def rate_factor(schedule: ResolvedSchedule, step: int, total_steps: int) -> float:
    """The factor of step `step` (from 0): linear warm-up that ends at 1, then constant or half a cosine.

    The cosine's last step, `total_steps - 1`, has exactly the final fraction.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps  # the first step already moves the weights
    if not isinstance(schedule, Cosine):
        return 1.0
    # The cosine starts at the first step after the warm-up and ends at the last one; a single step divides by 1.
    length = max(1, total_steps - 1 - schedule.warmup_steps)
    progress = min(1.0, (step - schedule.warmup_steps) / length)
    return schedule.final_fraction + (1 - schedule.final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))
