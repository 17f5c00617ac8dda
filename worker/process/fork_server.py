"""The fork server: a process that has imported what all trainers use, and forks them.

`python -m worker.process.fork_server SUPERVISOR_PID`, with a Unix socket as standard input. The imports cost three
seconds of CPU, a fork some milliseconds. Nothing of torch is run here, only imported: OpenMP and CUDA do not survive
forks.

A request is one file descriptor, the standard input of a new trainer, which answers with its process id. Trainers are
forked twice: the process in between ends at once, whereupon the kernel makes its child a child of the supervisor
(PR_SET_CHILD_SUBREAPER). So the supervisor can wait for the trainer, the trainer dies with the supervisor, and killing
the fork server harms no trainer.
"""

import os
import socket
import sys
import time
import warnings

from app.kit import logs
from app.kit.process import die_with_parent, name_process, permanent
from worker.process import trainer


def import_all() -> None:
    """Import what every job uses, and what optimizers would import at their first step."""
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # to look for a GPU must not begin to use it
    with permanent():
        import sklearn.ensemble  # noqa: F401, PLC0415 - as below: of what fits estimators
        import torch._dynamo  # noqa: F401, PLC0415 - imported late: the supervisor's death is to be seen in the meantime

        from app.jobs import kinds  # noqa: F401, PLC0415
        from worker.process import runner  # noqa: F401, PLC0415


def _serve(control: socket.socket, supervisor: int) -> bool:
    """Fork a trainer at each request. Returns in every trainer, with True; else once the supervisor is gone."""
    while True:
        _, descriptors, *_ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            return False
        between = os.fork()
        if between == 0:
            parent = os.getpid()
            if os.fork() == 0:
                _become_trainer(control, supervisor, parent, descriptors[0])
                return True
            os._exit(0)
        os.waitpid(between, 0)
        os.close(descriptors[0])


def _become_trainer(control: socket.socket, supervisor: int, between: int, stdin: int) -> None:
    """Become the supervisor's child, in a process group of its own, and read from `stdin`."""
    os.setsid()
    name_process("trainer")
    while os.getppid() == between:  # until the process in between has ended
        time.sleep(0.001)
    die_with_parent(supervisor)
    control.send(str(os.getpid()).encode())
    os.dup2(stdin, 0)  # until now standard input was the socket to the supervisor
    os.close(stdin)


def main() -> None:
    """Import, then fork until the supervisor is gone."""
    supervisor = int(sys.argv[1])
    die_with_parent(supervisor)
    name_process("forkserver")
    logs.configure("trainer")
    import_all()
    # Python warns of forks in a process with threads. These (OpenBLAS and Arrow) belong to libraries that heed forks.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    control = socket.socket(fileno=os.dup(0))
    in_trainer = _serve(control, supervisor)
    control.close()
    if in_trainer:
        trainer.main()


if __name__ == "__main__":
    main()
