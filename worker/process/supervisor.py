"""Supervises trainers: claims a job, hands it to the waiting trainer, beats for it, and cleans up after a death.

Lives in the Celery child and never imports torch: a process that has used OpenMP must not fork, and a GPU is not to be
touched here.
"""

import logging
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import failpoints
from app.db.session import Database
from app.jobs import gangs, workers
from app.jobs import lease as leases
from app.jobs.attempts import Lease
from app.jobs.gangs import Seat
from app.kit import logs
from app.queue import JobQueue
from app.settings import Settings
from worker.attempt.exit_codes import DEVICE_LOST
from worker.attempt.folder import attempt_folder, member_folder, stacks_file
from worker.process.heartbeat import Flag, Heartbeat, TrainerExit
from worker.process.out_of_memory import oom_kills
from worker.process.postmortem import record_death
from worker.process.seat_heartbeat import SeatHeartbeat
from worker.process.trainer_process import ForkServer, TrainerProcess

log = logging.getLogger(__name__)

Lane = Literal["any", "short"]

_CRASH_PAUSE_SECONDS = 1.0  # a job that kills its trainers at once must not keep the machine busy
_MIN_REST_SECONDS, _MAX_REST_SECONDS = 60.0, 3600.0  # after a lost device
_DUMP_SECONDS = 1.0
_SHORT_POLL_SECONDS = 1.0
_CLOSE_SECONDS = 35.0  # a drained job is given back within less
_MAX_DUMP = 20_000


class Supervisor:
    """Two lanes of one job at a time: one for every job and, while that is busy, one for short jobs."""

    def __init__(self, settings: Settings, database: Database, queue: JobQueue, draining: Flag) -> None:
        self._settings = settings
        self._database = database
        self._queue = queue
        self._draining = draining
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._devices = devices_of(settings)
        self._busy = threading.Lock()
        self._fork_server = ForkServer(settings.threads)
        self._spares: dict[Lane, TrainerProcess] = {}  # forked already, and waiting for a job
        self._closing = threading.Event()
        self._short_lane = threading.Thread(target=self._serve_short_lane, name="short lane", daemon=True)
        self._polled = time.monotonic()
        self._rest_seconds, self._rests_until = _MIN_REST_SECONDS, 0.0

    def start(self) -> None:
        """Open the lane of short jobs, unless the settings leave it out."""
        if self._settings.short_lane:
            self._short_lane.start()

    def work(self) -> None:
        """Run jobs until none is left; where another thread does so already, wait for it first."""
        with self._busy:
            self._run_jobs()

    def poll(self) -> None:
        """Sign in; where idle, look for work that nobody rang for, every `poll_seconds`."""
        with self._database.writing() as session:
            workers.sign_in(session, self._owner, self._devices)
        due = time.monotonic() - self._polled >= self._settings.poll_seconds
        if due and self._busy.acquire(blocking=False):
            try:
                self._run_jobs()
            finally:
                self._polled = time.monotonic()
                self._busy.release()

    def close(self) -> None:
        """End the lane of short jobs and the spare trainers, and sign out."""
        self._closing.set()
        if self._short_lane.is_alive():
            self._short_lane.join(timeout=_CLOSE_SECONDS)
        for spare in self._spares.values():
            spare.kill()
        self._fork_server.close()
        try:
            with self._database.writing() as session:
                workers.sign_out(session, self._owner)
        except SQLAlchemyError as error:
            log.warning("not signed out: %s", error)

    def _serve_short_lane(self) -> None:
        """Run short jobs while the other lane is busy; until then nothing rings here, so it looks every second."""
        while not self._closing.wait(_SHORT_POLL_SECONDS):
            try:
                while self._busy.locked() and self._has_short_job() and self._run_job("short"):
                    pass
            except Exception:
                log.exception("a short job could not be begun; it is tried again")
            if (spare := self._spares.pop("short", None)) is not None:  # another worker was faster
                spare.kill()

    def _has_short_job(self) -> bool:
        """Whether a short job waits: no trainer is forked in vain."""
        with self._database.reading() as session:
            return leases.has_claimable(session, self._devices, "short")

    def _run_jobs(self) -> None:
        while self._run_job("any"):
            pass

    def _run_job(self, lane: Lane) -> bool:
        """Run the best job of a lane; return False where there is none, or none is to be begun."""
        if self._draining.is_set() or time.monotonic() < self._rests_until:
            return False
        trainer = self._ready_trainer(lane)
        right = self._claim(lane)
        if right is None:
            return False
        del self._spares[lane]
        with logs.traced(right.traceparent), logs.bound(job_id=right.job_id, attempt=str(right.token)):
            if isinstance(right, Seat):
                self._take_part(right, trainer)
            else:
                self._run(right, trainer, lane)
        return True

    def _claim(self, lane: Lane) -> Lease | Seat | None:
        """Take a seat in the gang that gathers, or else the best job of a lane: short ones never wait for others."""
        seconds = self._settings.lease_seconds
        with self._database.writing() as session:
            right: Lease | Seat | None
            if lane == "short":
                right = leases.claim(session, self._owner, seconds, self._devices, lane="short")
            else:
                right = gangs.take_seat(session, self._owner, seconds, self._devices)
                right = right or leases.claim(session, self._owner, seconds, self._devices)
        failpoints.reach("claim.committed")
        if isinstance(right, Lease):
            for _ in range(right.nodes - 1):
                self._queue.ring()
        return right

    def _ready_trainer(self, lane: Lane) -> TrainerProcess:
        """Return a trainer that waits: no job is claimed before there is one."""
        spare = self._spares.get(lane)
        if spare is not None and not spare.alive():
            spare.kill()
            spare = None
        self._spares[lane] = spare or self._fork_server.fork()
        return self._spares[lane]

    def _run(self, lease: Lease, trainer: TrainerProcess, lane: Lane) -> None:
        kills = oom_kills(self._settings.memory_events)
        stacks = ""
        try:
            trainer.start(lease)
            log.info("job %s, attempt %d: trainer %d", lease.job_id, lease.attempt, trainer.pid)
            reserve = self._reserve if lane == "any" else _reserve_none  # gangs train in the other lane
            end = Heartbeat(self._settings, self._database, lease, trainer, self._draining, reserve).run()
            if end.reason == "stalled":
                stacks = self._stacks(lease, trainer)
        finally:
            trainer.kill()
        # SIGKILL comes from the kernel when memory runs out, or from anybody else: its counter tells which.
        if end.code == -signal.SIGKILL and oom_kills(self._settings.memory_events) > kills:
            end = TrainerExit(None, "out_of_memory")
        self._rest_after(end)
        if end.code != 0:
            self._clean_up(lease, end, stacks)

    def _reserve(self, session: Session, lease: Lease) -> Seat | None:
        return gangs.preempt(session, lease, self._owner, self._settings.lease_seconds, self._devices)

    def _take_part(self, seat: Seat, trainer: TrainerProcess) -> None:
        try:
            trainer.start(seat)
            log.info("job %s, attempt %d, node %d: trainer %d", seat.job_id, seat.token, seat.node, trainer.pid)
            code = SeatHeartbeat(self._settings, self._database, seat, self._owner, trainer, self._draining).run()
        finally:
            trainer.kill()
        shutil.rmtree(member_folder(self._settings, seat), ignore_errors=True)
        try:
            self._database.transact(lambda session: gangs.leave(session, seat, self._owner, code))
        except SQLAlchemyError as error:
            log.warning("the seat runs out by itself: %s", error)
        if code:
            time.sleep(_CRASH_PAUSE_SECONDS)

    def _stacks(self, lease: Lease, trainer: TrainerProcess) -> str:
        """Where a hanging trainer's threads are."""
        trainer.dump_stacks()
        trainer.wait(_DUMP_SECONDS)
        file = stacks_file(attempt_folder(self._settings, lease))
        return file.read_text(errors="replace")[:_MAX_DUMP] if file.exists() else ""

    def _rest_after(self, end: TrainerExit) -> None:
        """Take no job for a while after a lost GPU, longer each time until a job succeeds."""
        if end.code == DEVICE_LOST:
            log.error("the device is lost; no job is taken for %s s", self._rest_seconds)
            self._rests_until = time.monotonic() + self._rest_seconds
            self._rest_seconds = min(2 * self._rest_seconds, _MAX_REST_SECONDS)
        elif end.code == 0:
            self._rest_seconds = _MIN_REST_SECONDS

    def _clean_up(self, lease: Lease, end: TrainerExit, stacks: str) -> None:
        """Do for a dead trainer what it does itself when it ends well; the sweeper would do it too, but later."""
        failpoints.reach("cleanup.begun")
        shutil.rmtree(attempt_folder(self._settings, lease), ignore_errors=True)
        try:
            self._database.transact(lambda session: record_death(session, lease, end, self._settings, stacks))
        except (SQLAlchemyError, leases.LeaseLostError, leases.CancelledError) as error:
            log.warning("left to the sweeper: %s", error)
        time.sleep(_CRASH_PAUSE_SECONDS)


def _reserve_none(_session: Session, _lease: Lease) -> Seat | None:
    return None


def devices_of(settings: Settings) -> dict[str, int]:
    """Return how many devices of which kind this worker has, without touching any."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if visible is not None:
        gpus = min(gpus, len([gpu for gpu in visible.split(",") if gpu not in ("", "-1")]))
    requested = settings.worker_device
    devices = {"cpu": settings.worker_devices}
    if requested == "cuda" or (requested == "auto" and gpus):
        devices["cuda"] = max(gpus, 1)
    return devices
