"""A training whose loss, or weights, are no numbers any more."""

import math

from worker.training.state import LoopState


class DivergedError(Exception):
    """It cannot go on from where it is."""

    def __init__(self, step: int, lr: float, state: LoopState) -> None:
        self.step, self.lr, self.gradient_norm = step, lr, state.gradient_norm()
        advice = "Lower training.optimizer.lr, or set training.clip_grad_norm."
        super().__init__(f"{self.what()}{_tried(state.progress.setbacks)} {advice}")

    def what(self) -> str:
        """Say what was seen."""
        norm = f"{self.gradient_norm:.3g}" if math.isfinite(self.gradient_norm) else "not finite"
        return f"The loss is not finite any more by step {self.step} (learning rate {self.lr:g}, gradient norm {norm})."

    def data(self) -> dict[str, float | None]:
        """The same as JSON, which knows no infinity."""
        norm = self.gradient_norm if math.isfinite(self.gradient_norm) else None
        return {"step": self.step, "lr": self.lr, "gradient_norm": norm}


def _tried(setbacks: int) -> str:
    if setbacks == 0:
        return ""
    times = "once" if setbacks == 1 else "twice"
    return f" The training went back to its last checkpoint {times}, each time at half the rate."
