"""Where an attempt keeps its files; apart from its runner, since the supervisor cleans up after deaths."""

from pathlib import Path

from app.jobs.attempts import Lease, folder_name
from app.jobs.gangs import Seat
from app.settings import Settings


def attempt_folder(settings: Settings, lease: Lease) -> Path:
    """Return the folder of one attempt."""
    return settings.data_folder / "tmp" / folder_name(lease.job_id, lease.token)


def member_folder(settings: Settings, seat: Seat) -> Path:
    """Return the folder of a member of a gang, next to that of its leader where both are on one machine."""
    return settings.data_folder / "tmp" / folder_name(seat.job_id, seat.token, seat.node)


def stacks_file(folder: Path) -> Path:
    """Return where a trainer writes its threads' stacks when it is asked to."""
    return folder / "stacks.txt"
