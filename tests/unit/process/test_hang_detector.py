import subprocess
import sys

import pytest

from worker.process.hang_detector import HangDetector, cpu_seconds

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


def test_a_silent_trainer_hangs_once_it_uses_no_processor_time_either(monkeypatch: pytest.MonkeyPatch) -> None:
    now, cpu = [0.0], [0.0]
    monkeypatch.setattr("worker.process.hang_detector.time.monotonic", lambda: now[0])
    monkeypatch.setattr("worker.process.hang_detector.cpu_seconds", lambda _: cpu[0])
    detector = HangDetector(1, seconds=10)

    def after(seconds: float, report: int, used: float) -> bool:
        now[0], cpu[0] = now[0] + seconds, cpu[0] + used
        return detector.is_hung(report)

    assert not after(5, 1, 0), "the first report"
    assert not after(49, 1, 0), "ten times the usual pause of 5 s is not over"
    assert not after(20, 1, 20), "it works in silence"
    assert after(432, 1, 432), "after ten times the limit it spins"
    detector.reset()
    assert not after(1, 1, 0), "its silence counts anew"
    assert after(60, 1, 0)
