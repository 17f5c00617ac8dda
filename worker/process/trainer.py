"""A trainer's program: takes a throw-away step, waits for a job on standard input, runs it and ends."""

import json
import signal
import sys
import threading

from pydantic import TypeAdapter

from app.jobs.attempts import Lease
from app.jobs.gangs import Seat
from app.kit import logs
from worker.attempt.drain import Draining

_RIGHT: TypeAdapter[Lease | Seat] = TypeAdapter(Lease | Seat)


def _warm_up() -> None:
    """Take a step on a small layer: the first one in a process is slow, the job's then is not."""
    import torch  # noqa: PLC0415 - imported already where trainers are forked

    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.zeros(2, 4)).sum().backward()
    optimizer.step()


def _listen(draining: Draining) -> None:
    """Read the supervisor's requests to stop, see `TrainerProcess.drain`."""
    for line in sys.stdin:
        draining.ask(json.loads(line)["drain"])


def main() -> None:
    """Warm up, wait for a lease on standard input, run its job."""
    _warm_up()
    line = sys.stdin.readline()
    if not line:
        return
    right = _RIGHT.validate_json(line)
    if isinstance(right, Seat):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the leader saves; then its gang parts
        from worker.process import runner  # noqa: PLC0415 - imported already where trainers are forked

        with logs.traced(right.traceparent), logs.bound(job_id=right.job_id, attempt=str(right.token)):
            runner.run_member(right)
        return
    _run(right)


def _run(lease: Lease) -> None:
    draining = Draining()
    # Whoever ends all processes at once (a container that stops) wants the same as the supervisor.
    signal.signal(signal.SIGTERM, lambda *_: draining.ask("shutdown"))
    threading.Thread(target=_listen, args=(draining,), daemon=True).start()

    from worker.process import runner  # noqa: PLC0415 - imported already where trainers are forked

    with logs.traced(lease.traceparent), logs.bound(job_id=lease.job_id, attempt=str(lease.token)):
        runner.run(lease, draining)
