"""Trainers are forked, belong to whoever asked for them, and outlive only what they may outlive."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.kit.process import adopt_orphans
from tests.support.servers import HANGS, wait_until
from worker.process.trainer_process import ForkServer

# A supervisor that says which processes are its own, and then waits to be killed.
_SUPERVISOR = """
import sys
from worker.process.trainer_process import ForkServer
server = ForkServer(1)
trainer = server.fork()
print(server.pid, trainer.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer(1, HANGS)
    yield server
    server.close()
    adopt_orphans(adopt=False)


def test_a_trainer_is_a_child_in_a_group_of_its_own_and_its_end_is_told(server: ForkServer) -> None:
    trainer = server.fork()
    process = psutil.Process(trainer.pid)
    assert (process.name(), process.ppid(), os.getpgid(trainer.pid)) == ("trainer", os.getpid(), trainer.pid)
    assert trainer.wait(0.1) is None
    process.send_signal(signal.SIGTERM)
    assert trainer.wait(HANGS) == -signal.SIGTERM
    trainer.kill()
    other = server.fork()
    other.kill()
    assert (other.wait(0), other.alive()) == (-signal.SIGKILL, False)
    assert not psutil.pid_exists(trainer.pid)
    assert not psutil.pid_exists(other.pid)


def test_where_trainers_are_forked_only_threads_that_heed_forks_run(server: ForkServer) -> None:
    server.fork().kill()
    threads = [path.read_text().strip() for path in Path(f"/proc/{server.pid}/task").glob("*/comm")]
    assert set(threads) <= {"forkserver", "jemalloc_bg_thd"}
    assert len(threads) <= 2


_FORKED = """
import os, sys
from worker.process.fork_server import import_all
import_all()
for _ in range(3):
    child = os.fork()
    if child == 0:
        import torch
        rows = torch.rand(64, 3, 32, 32, device=sys.argv[1])
        layer = torch.nn.Conv2d(3, 64, 3).to(rows.device)
        for _ in range(3):
            layer(rows).square().sum().backward()
        os._exit(0 if torch.get_num_threads() == 2 and layer.weight.grad.isfinite().all() else 1)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_forked_processes_compute_with_several_threads_and_on_a_gpu(device: str) -> None:
    """Neither works in the child of a process that has used it itself: that would hang, or be refused."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", _FORKED, device], env=environment, check=True, timeout=HANGS)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_fork_server_is_replaced_and_its_trainers_go_on(server: ForkServer, number: int) -> None:
    first, lost = server.fork(), server.pid
    server._control.settimeout(2)  # of this one alone: the next has to import everything first
    os.kill(lost, number)
    second = server.fork()
    assert first.alive()
    assert second.alive()
    assert server.pid != lost
    assert not psutil.pid_exists(lost)
    first.kill()
    second.kill()


@pytest.mark.slow
def test_all_die_with_the_supervisor() -> None:
    program = [sys.executable, "-c", _SUPERVISOR]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        assert len(pids) == 2
        supervisor.kill()
    wait_until(lambda: not any(map(_runs, pids)), "all have ended")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
