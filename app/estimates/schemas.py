"""What an estimate's job answers in its metrics."""

from pydantic import BaseModel, Field


class Measured(BaseModel):
    """The memory of steps with one batch size, really run."""

    batch_size: int
    peak_bytes: int


class Estimate(BaseModel):
    """What a training will cost on the device that the estimate ran on, if that is as busy then as it was now."""

    device: str
    step_seconds: float = Field(description="Median of the timed steps, without the first ones.")
    timed_steps: int
    total_steps: int = Field(description="All that are configured: early stopping is not foreseen.")
    seconds: float = Field(
        description="Of the whole training loop: steps of the mean time, evaluations and checkpoints, "
        "the last two measured once. Waiting in the queue, loading, "
        "preparing, the final measurement and registering are not in it."
    )
    low: float = Field(description="The same with the mean of the fastest of ten consecutive blocks of steps.")
    high: float = Field(description="The same with the mean of the slowest of ten consecutive blocks of steps.")
    actual_seconds: float | None = Field(
        None, description="Of the latest training of the very same config, dataset and model that took every step once."
    )
    evaluation_seconds: float = Field(description="One look at the validation split, with what is watched.")
    checkpoint_seconds: float = Field(description="Writing one to the local disk; uploading it is not in it.")
    checkpoint_bytes: int = Field(description="One that was written. Early stopping adds the best weights to it.")
    model_bytes: int = Field(description="All files of a model that was written.")
    peak_bytes: int = Field(
        description="On the CPU the most memory that the trainer held, its libraries included; on CUDA the most that "
        "its tensors took."
    )
    measured: list[Measured] = Field(
        description="What the largest batch is reckoned from: the batch, twice and four times as much where there "
        "are as many rows and where twice the peak so far would fit."
    )
    available_bytes: int = Field(
        description="What the trainer may hold in all: what it holds, and what is free on the device, or on the CPU "
        "under the control group's limit and on the host."
    )
    largest_batch: int | None = Field(
        description="The largest batch whose memory, linear in its size as measured, stays under 80 % of what is "
        "available; at most all training rows. Where memory did not grow it is the largest one that was run. Null: "
        "the training has no batches, or not even its own one fits."
    )
