"""What a trainer does: it is forked, takes a throw-away step, waits for a job on standard input, runs it and ends."""

import json
import signal
import sys
import threading

from app.jobs.attempts import Lease
from app.kit import logs
from worker.process.drain import Draining


def _warm_up() -> None:
    """Do once what is slow only at first."""
    import torch  # noqa: PLC0415 - imported already where trainers are forked

    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.zeros(2, 4)).sum().backward()
    optimizer.step()


def _listen(draining: Draining) -> None:
    for line in sys.stdin:
        draining.ask(json.loads(line)["drain"])


def main() -> None:
    """Warm up, wait, run one job."""
    _warm_up()
    line = sys.stdin.readline()
    if not line:
        return
    draining = Draining()
    signal.signal(
        signal.SIGTERM, lambda *_: draining.ask("shutdown")
    )  # whoever ends every process at once means the same
    threading.Thread(target=_listen, args=(draining,), daemon=True).start()

    from worker.attempt import runner  # noqa: PLC0415 - imported already where trainers are forked

    lease = Lease.model_validate_json(line)
    with logs.traced(lease.traceparent), logs.bound(job_id=lease.job_id, attempt=str(lease.token)):
        runner.run(lease, draining)
