import subprocess
import sys

import pytest

from worker.process.hang_detector import cpu_seconds

# Half a second of work in a child that ends, half a second of its own, and one in a child that is in no group of its.
PROGRAM = """
import os, sys, time

def work(seconds):
    while time.process_time() < seconds:
        pass

for seconds, leaves in ((0.5, False), (1.0, True)):
    if not (pid := os.fork()):
        if leaves:
            os.setpgid(0, 0)
            print(os.getpid(), flush=True)
        work(seconds)
        if leaves:
            print("done", flush=True)
            time.sleep(60)
        os._exit(0)
    if not leaves:
        os.waitpid(pid, 0)
work(0.5)
print("done", flush=True)
sys.stdin.read()
os.kill(pid, 9)
"""


def test_processor_time_is_that_of_the_group_and_of_its_ended_children() -> None:
    program = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        (other,) = (int(line) for line in lines if line != "done")
        assert cpu_seconds(process.pid) == pytest.approx(1.0, abs=0.3)
        assert cpu_seconds(other) == pytest.approx(1.0, abs=0.3)
        process.communicate("")
    assert cpu_seconds(process.pid) == 0
