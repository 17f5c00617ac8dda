"""Gradients of a batch, in one piece or, where the device has too little memory, in several whose gradients add up."""

import logging

import torch
from torch import Tensor

from app.ml.configs.training import ResolvedTraining
from app.ml.data.arrays import Examples
from app.ml.interfaces import Losses
from worker.training.events import Note
from worker.training.precision import precision
from worker.training.state import LoopState

log = logging.getLogger(__name__)

_MAX_PIECES = 8


class DeviceMemoryError(Exception):
    """The device has too little memory for a step, however small its pieces may be."""

    def __init__(self, rows: int, pieces: int) -> None:
        tried = f", even in {pieces} pieces" if pieces > 1 else ""
        super().__init__(
            f"The device has too little memory for a step of {rows} rows{tried}. Lower training.batch_size, choose a "
            'smaller backbone, or let several devices share it: resources.devices, and "shard" as resources.sharding.'
        )


def backward(state: LoopState, examples: Examples, indices: Tensor | None, config: ResolvedTraining) -> Losses | None:
    """Compute the gradients of the rows at `indices` (B,), None being all rows; return the losses, ().

    None where the device had too little memory. Several pieces give the mean of their losses, weighted by their rows.
    """
    state.optimizer.zero_grad()
    try:
        # In one piece the indices go through as they are: None reads all rows without copying them.
        if state.progress.pieces == 1:
            return _backward_of_piece(state, examples, indices, config, 1.0, last=True)
        rows = torch.arange(len(examples)) if indices is None else indices
        pieces = rows.tensor_split(min(state.progress.pieces, len(rows)))
        # A loss is a mean over rows: weighted by their share of the rows, the pieces' gradients add up to the batch's.
        losses = [
            _backward_of_piece(state, examples, piece, config, len(piece) / len(rows), last=piece is pieces[-1])
            for piece in pieces
        ]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("too little memory for a step: %s", error)
        return None
    return {name: torch.stack([of_piece[name] for of_piece in losses]).sum(0) for name in losses[0]}


def _backward_of_piece(
    state: LoopState,
    examples: Examples,
    indices: Tensor | None,
    config: ResolvedTraining,
    share: float,
    *,
    last: bool,
) -> Losses:
    """Add the gradients of a piece to those that are there; return its part of the batch's losses, ()."""
    with precision(config, state.device):
        if state.ranks is None:
            losses = state.objective.training_loss(examples.batch(indices))  # scalars, of the piece
        else:
            assert indices is not None
            losses = state.ranks.training_loss(state.objective, examples, indices, last=last)
    if share < 1:  # a whole batch is not multiplied by 1: that would be one more kernel for each loss
        losses = {name: value * share for name, value in losses.items()}
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    return {name: value.detach() for name, value in losses.items()}


def split_further(state: LoopState, rows: int) -> Note:
    """Cut each batch, of `rows` rows, into twice as many pieces from now on.

    Raises:
        DeviceMemoryError: the pieces cannot be smaller, the objective compares a batch's rows with each other, or
            other devices wait for this one's share of the step.
    """
    progress = state.progress
    pieces = 2 * progress.pieces
    if state.ranks is not None or state.objective.compares_rows or pieces > min(_MAX_PIECES, rows):
        raise DeviceMemoryError(rows, progress.pieces)
    progress.pieces = pieces  # saved in checkpoints: a resumed run adds up in the same order, bit for bit
    state.optimizer.zero_grad()  # the failed step's gradients go before memory is handed back
    if state.device.type == "cuda":
        torch.cuda.empty_cache()
    message = f"Too little memory for {rows} rows at once: from here on steps add up the gradients of {pieces} pieces."
    return Note("training.micro_batches", message, {"step": progress.step, "rows": rows, "pieces": pieces})


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU, or the host, did not have the memory that was asked for."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
