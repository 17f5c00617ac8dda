"""What a member of a gang does: it has the job's data at hand, and runs this node's ranks whenever the leader calls."""

import time

from app.jobs import gangs
from app.jobs.gangs import Meeting, PartedError, Seat
from worker.attempt.address import own_address
from worker.attempt.context import JobContext
from worker.attempt.job_inputs import link_data, link_model
from worker.distributed.rank_processes import RankProcesses, places_of_node

_LOOK_SECONDS = 0.2


def take_part(context: JobContext, seat: Seat) -> None:
    """Run the ranks of a node until the gang parts; its supervisor kills it where the attempt ends before."""
    job = context.job
    link_data(context)
    if job.parent_model_id is not None:
        link_model(context.attempt, job.parent_model_id, context.folder / "parent")
    host, done = own_address(context.settings), 0
    while (meeting := _next_meeting(context, seat, done)) is not None:
        places = places_of_node(
            meeting.place,
            job.devices,
            meeting.size,
            meeting.device,
            address=meeting.address,
            host=host,
            folder=context.folder,
        )
        RankProcesses(places).wait()
        done = meeting.round


def _next_meeting(context: JobContext, seat: Seat, after: int) -> Meeting | None:
    """Wait for the leader's next call; None once the gang has parted."""
    while True:
        try:
            meeting = context.attempt.commit_with_retry(lambda session: gangs.meeting(session, seat, after))
        except PartedError:
            return None
        if meeting is not None:
            return meeting
        time.sleep(_LOOK_SECONDS)
