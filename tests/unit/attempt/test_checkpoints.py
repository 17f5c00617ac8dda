"""Room for checkpoints, looked at before a training starts."""

import os
from pathlib import Path

import pytest

from app.kit.files import space
from worker.attempt.checkpoints import StorageFullError, refuse_where_too_full


def test_a_training_whose_states_do_not_fit_on_the_disk_is_refused(tmp_path: Path) -> None:
    """A file with a hole, as large as the whole disk: whatever else is deleted meanwhile, three of them do not fit."""
    state = tmp_path / "state"
    state.write_bytes(b"state")
    refuse_where_too_full(state)
    free, total = space(tmp_path / "not" / "there" / "yet")
    assert 0 < free <= total
    os.truncate(state, total)
    with pytest.raises(StorageFullError):
        refuse_where_too_full(state)
