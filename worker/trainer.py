"""The trainer's program: `python -m worker.trainer SUPERVISOR_PID`.

It imports torch and takes one throw-away training step (optimizers import much at their first use), then waits for its
job on standard input. One trainer runs one job and ends.
"""

import json
import signal
import sys
import threading

from app.jobs.attempts import Lease
from app.kit import logs
from app.kit.process import die_with_parent
from worker.drain import Draining


def _warm_up() -> None:
    """Import and touch what every job uses."""
    import torch  # noqa: PLC0415 - imported late so that this file costs nothing to look at

    from app.jobs import plan  # noqa: F401, PLC0415
    from worker import runner  # noqa: F401, PLC0415

    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.zeros(2, 4)).sum().backward()
    optimizer.step()


def _listen(draining: Draining) -> None:
    for line in sys.stdin:
        draining.ask(json.loads(line)["drain"])


def main() -> None:
    """Warm up, wait, run one job."""
    die_with_parent(int(sys.argv[1]))
    logs.configure("trainer")
    _warm_up()
    line = sys.stdin.readline()
    if not line:
        return
    draining = Draining()
    signal.signal(
        signal.SIGTERM, lambda *_: draining.ask("shutdown")
    )  # whoever ends every process at once means the same
    threading.Thread(target=_listen, args=(draining,), daemon=True).start()

    from worker import runner  # noqa: PLC0415 - imported by the warm-up

    lease = Lease.model_validate_json(line)
    with logs.traced(lease.traceparent), logs.bound(job_id=lease.job_id, attempt=str(lease.token)):
        runner.run(lease, draining)


if __name__ == "__main__":
    main()
