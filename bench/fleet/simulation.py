"""A fleet from event to event: arrivals, ends, deaths of workers, restarts, and gangs that gather.

Real: the transactions of submission, claim, seat, start, end, requeue, death and sweep, on one connection, in the order
of the simulated time. Modelled: what happens within them is instant; a heartbeat is run only where it is a worker's
last (leases are taken for ever, and the last heartbeat shortens them), sign-ins likewise; a ring reaches one idle
worker at once, the sweepers' rings reach the others five seconds later; checkpoints are rows alone.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from sqlalchemy import insert, select

from app.db.tables import CheckpointRow, JobRow, ProjectRow
from app.jobs import gangs, queueing, workers
from app.jobs import lease as leases
from app.jobs.attempts import Lease
from app.jobs.gangs import Seat
from app.jobs.interface import JobColumns
from app.jobs.sweeper import RING_AGAIN_SECONDS
from app.kit.ids import new_id
from app.queue import MemoryQueue
from app.settings import Settings
from bench.fleet.actors import Attempt, Worker
from bench.fleet.clock import Clock, Meter
from bench.fleet.outcome import Outcome
from bench.fleet.workload import DAY, WEEK, Job, WorkerKind, Workload

_SETTINGS = Settings()
LEASE, MAX_ATTEMPTS, _SWEEP_SECONDS = _SETTINGS.lease_seconds, _SETTINGS.max_attempts, _SETTINGS.sweep_seconds
BEAT_SECONDS, CHECKPOINT_SECONDS = 5.0, 30.0  # of worker.process.heartbeat, and training.checkpoint_seconds
_FOR_EVER = 1e9
_DOWN_SECONDS = 900.0  # from a worker's death to its restart, on average
_SAVE_SECONDS = 3.0
_POLL_SECONDS = 1800.0  # each worker polls every 30 s; of a fleet's polls these are run
_LEAST_SECONDS = 1.0


class Fleet:
    """One run: `is_fair` off makes all jobs one project's, whose jobs come in the order of their arrival."""

    def __init__(
        self, clock: Clock, meter: Meter, load: Workload, *, has_deaths: bool = True, is_fair: bool = True
    ) -> None:
        self._clock, self._meter, self._load = clock, meter, load
        self._has_deaths, self._is_fair = has_deaths, is_fair
        self._random = Random(load.seed)  # noqa: S311 - a simulation
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = count()
        self._end = load.days * DAY
        self._workers = [Worker(number, kind) for number, kind in enumerate(load.kinds())]
        self._idle: dict[WorkerKind, dict[Worker, None]] = {worker.kind: {} for worker in self._workers}
        self._jobs: dict[str, Job] = {}
        self._attempts: dict[tuple[str, int], Attempt] = {}  # under a lease, by job and token
        self._queued: Counter[tuple[str, int]] = Counter()
        self._gathering: Attempt | None = None
        self._rings_soon = False
        self._queue = MemoryQueue()
        self.outcome = Outcome(load, self._workers)

    def run(self) -> Outcome:
        """Simulate all days."""
        self._clock.now = 0.0
        names = range(self._load.projects) if self._is_fair else range(1)
        with self._meter.transaction("set up") as session:
            session.execute(insert(ProjectRow), [{"id": f"p{n}", "name": f"p{n}", "created_at": 0.0} for n in names])
        for worker in self._workers:
            self._live(worker)
            self._idle[worker.kind][worker] = None
        arrivals = self._load.arrivals()
        self._after(0.0, self._arrive, next(arrivals, None), arrivals)
        self._after(_POLL_SECONDS, self._poll)
        while self._events and self._events[0][0] < self._end:
            self._clock.now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        self._clock.now = self._end
        for worker in self._workers:
            if worker.attempt is not None:
                self.outcome.leave(worker, self._end)
        self.outcome.jobs = list(self._jobs.values())
        return self.outcome

    # Time and rings

    def _after(self, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (self._clock.now + seconds, next(self._numbers), action, arguments))

    def _beat(self) -> float:
        """How long it is until, or since, a heartbeat."""
        return self._random.uniform(0, BEAT_SECONDS)

    def _ring_after(self, seconds: float) -> None:
        """Let the sweepers ring in so many seconds, until no idle worker claims anything."""
        if seconds == RING_AGAIN_SECONDS:
            if self._rings_soon:
                return
            self._rings_soon = True
        self._after(seconds, self._ring_all, seconds)

    def _ring_all(self, seconds: float) -> None:
        if seconds == RING_AGAIN_SECONDS:
            self._rings_soon = False
        self._wake_all()

    def _wake_all(self) -> int:
        """Wake idle workers, of each kind until one claims nothing: the others would not, either."""
        claimed = 0
        for kind, idle in self._idle.items():
            while idle and self._has_work_for(kind) and self._wake(self._random.choice(list(idle))):
                claimed += 1
        return claimed

    def _poll(self) -> None:
        claimed = self._wake_all()
        self.outcome.missed += 0 if self._rings_soon else claimed
        self._after(_POLL_SECONDS, self._poll)

    def _has_work_for(self, kind: WorkerKind) -> bool:
        gang = self._gathering
        seats = gang is not None and len(gang.members) + 1 < gang.job.nodes and kind.runs(*gang.job.shape)
        return seats or any(number and kind.runs(*shape) for shape, number in self._queued.items())

    def _wake_some(self, number: int) -> None:
        """Ring so many times; each ring reaches an idle worker, whatever it can run."""
        for _ in range(number):
            idle = [worker for each in self._idle.values() for worker in each]
            if idle and not self._wake(self._random.choice(idle)):
                self.outcome.rung_in_vain += 1
        self._ring_after(RING_AGAIN_SECONDS)

    # Jobs

    def _arrive(self, job: Job | None, later: Any) -> None:
        if job is None:
            return
        if job.arrived > self._clock.now:
            self._after(job.arrived - self._clock.now, self._arrive, job, later)
            return
        resources = {"device": job.device, "devices": job.devices, "nodes": job.nodes}
        columns = JobColumns(kind="pretraining", config={"resources": resources}, priority=job.priority)
        with self._meter.transaction("submit") as session:
            project = f"p{job.owner if self._is_fair else 0}"
            job_id = queueing.enqueue(session, self._queue, project, columns).id
        self._jobs[job_id] = job
        self._queued[job.shape] += 1
        self._wake_some(1)
        self._arrive(next(later, None), later)

    def _wake(self, worker: Worker) -> bool:
        """Let an idle worker claim as the supervisor does: a seat, or a job. Return whether it got anything."""
        with self._meter.transaction("claim") as session:
            right: Lease | Seat | None = gangs.take_seat(session, worker.name, _FOR_EVER, worker.kind.devices)
            right = right or leases.claim(session, worker.name, _FOR_EVER, worker.kind.devices)
        if right is None:
            self._meter.call_last("claim in vain")
            return False
        del self._idle[worker.kind][worker]
        if isinstance(right, Seat):
            self._sit(worker, right)
        else:
            self._lead(worker, right)
        return True

    def _lead(self, worker: Worker, lease: Lease) -> None:
        job = self._jobs[lease.job_id]
        self._queued[job.shape] -= 1
        attempt = self._attempts[lease.job_id, lease.token] = Attempt(job, lease, worker)
        self._join(worker, attempt, None)
        if lease.nodes == 1:
            self._begin(attempt, 1)
            return
        self._gathering = attempt
        self._after(self._patience(attempt), self._give_up, attempt)
        for other in self._workers:  # those at work ask at their next heartbeat whether the gang goes before their job
            if other.attempt not in (None, attempt) and other.seat is None and other.kind.runs(*job.shape):
                self._after(self._beat(), self._preempt, other, other.attempt, attempt)
        self._wake_some(lease.nodes - 1)

    def _join(self, worker: Worker, attempt: Attempt, seat: Seat | None) -> None:
        worker.attempt, worker.seat, worker.since = attempt, seat, self._clock.now

    def _begin(self, attempt: Attempt, size: int) -> None:
        with self._meter.transaction("start") as session:
            leases.move(session, attempt.lease, "running")
        now, job = self._clock.now, attempt.job
        attempt.began, attempt.size = now, size
        if job.started is None:
            job.started = now
        self._after(max(_LEAST_SECONDS, (job.seconds - job.done) / attempt.trained), self._finish, attempt)

    def _finish(self, attempt: Attempt) -> None:
        if attempt.is_over:
            return
        with self._meter.transaction("end") as session:
            leases.move(session, attempt.lease, "finalizing")
            if attempt.lease.nodes > 1:
                gangs.part(session, attempt.lease)
            leases.finish(session, attempt.lease, "succeeded", "Done.")
        self._count_done(attempt, 0.0)
        attempt.job.done, attempt.job.ended = attempt.job.seconds, self._clock.now
        self._dissolve(attempt, at_once=True)
        self._release(attempt.leader)

    def _count_done(self, attempt: Attempt, since_checkpoint: float) -> None:
        """Count what an attempt has done up to now, but for the seconds since its last checkpoint."""
        if attempt.began is None:
            return
        seconds = self._clock.now - attempt.began
        lost = min(seconds, since_checkpoint)
        attempt.job.done += (seconds - lost) * attempt.trained
        self.outcome.train(attempt, seconds, lost)
        if attempt.job.nodes > 1 and seconds > lost:
            row = {"id": new_id("ckpt"), "job_id": attempt.lease.job_id, "token": attempt.lease.token, "step": 1}
            rest = {"epoch": 0, "key": "", "sha256": "", "bytes": 0, "manifest": {}, "created_at": self._clock.now}
            with self._meter.transaction("checkpoint") as session:
                session.execute(insert(CheckpointRow), {**row, **rest})

    def _dissolve(self, attempt: Attempt, *, at_once: bool = False) -> None:
        """End an attempt; its members see it with their next heartbeat."""
        attempt.is_over = True
        self._attempts.pop((attempt.lease.job_id, attempt.lease.token), None)
        if self._gathering is attempt:
            self._gathering = None
        for worker in sorted(attempt.members, key=lambda each: each.number):
            if worker.attempt is attempt:
                self._after(0.0 if at_once else self._beat(), self._stand_up, worker, attempt)

    def _release(self, worker: Worker) -> None:
        """Let a worker that has ended what it did claim the next."""
        self.outcome.leave(worker, self._clock.now)
        worker.attempt = worker.seat = None
        self._idle[worker.kind][worker] = None
        self._wake(worker)
        worker.reserved = None

    def _requeued(self, attempt: Attempt) -> None:
        """Look at what became of a job that was given back or taken back."""
        with self._meter.database.reading() as session:
            row = session.execute(select(JobRow.status, JobRow.not_before).where(JobRow.id == attempt.lease.job_id))
            status, not_before = row.one()
        if status == "failed":
            attempt.job.has_failed, attempt.job.ended = True, self._clock.now
            return
        self._queued[attempt.job.shape] += 1
        self._ring_after(max(0.0, (not_before or 0.0) - self._clock.now))

    # Gangs

    def _patience(self, attempt: Attempt) -> float:
        """For how long a leader waits."""
        with self._meter.database.reading() as session:
            return gangs.patience(session, attempt.lease, _SETTINGS.gang_seconds)

    def _sit(self, worker: Worker, seat: Seat) -> None:
        gang = self._attempts[seat.job_id, seat.token]
        self._join(worker, gang, seat)
        gang.members.add(worker)
        self._look(gang, gang.job.nodes)

    def _look(self, gang: Attempt, least: int) -> bool:
        """Let the leader begin, if it lives and enough nodes are taken."""
        if gang.is_over or gang.began is not None:
            return False
        with self._meter.transaction("look at the gang") as session:
            leases.hold(session, gang.lease)
            size = gangs.begin(session, gang.lease, least)
        if size is None:
            return False
        self._gathering = None
        self.outcome.gather(gang, self._clock.now)
        self._begin(gang, size)
        self._ring_after(RING_AGAIN_SECONDS)  # the next gang may gather
        return True

    def _give_up(self, gang: Attempt) -> None:
        if gang.is_over or gang.began is not None or self._look(gang, 1 if gang.job.done else gang.job.nodes):
            return
        with self._meter.database.reading() as session:
            holds = gangs.holds(session, gang.lease)
        if holds:
            self._after(600.0, self._give_up, gang)  # a leader asks each half second whether it waits on
            return
        wait = self._patience(gang)
        with self._meter.transaction("give back") as session:
            leases.requeue(session, gang.lease, "", charged=False, ending="too_few_workers", after=wait)
        gang.job.gathered_in_vain += 1
        self.outcome.gather(gang, self._clock.now)
        self._dissolve(gang)
        self._requeued(gang)
        self._release(gang.leader)
        self._ring_after(RING_AGAIN_SECONDS)

    def _preempt(self, worker: Worker, own: Attempt, gang: Attempt) -> None:
        """Ask for a busy worker, at its heartbeat, whether it is to leave its job for a seat."""
        is_full = len(gang.members) + 1 >= gang.job.nodes
        if worker.attempt is not own or own.is_over or not worker.lives or self._gathering is not gang or is_full:
            return
        with self._meter.transaction("preempt") as session:
            seat = gangs.preempt(session, own.lease, worker.name, _FOR_EVER, worker.kind.devices)
        if seat is not None:
            self.outcome.preempted += 1
            gang.members.add(worker)
            worker.reserved = seat, gang
            self._after(_SAVE_SECONDS, self._save_and_leave, worker, own)
            self._look(gang, gang.job.nodes)

    def _save_and_leave(self, worker: Worker, own: Attempt) -> None:
        if worker.attempt is not own or own.is_over or not worker.lives:
            return
        self._count_done(own, 0.0)
        with self._meter.transaction("give back") as session:
            leases.requeue(session, own.lease, "", charged=False)
        self._dissolve(own)
        self._requeued(own)
        self._release(worker)

    def _stand_up(self, worker: Worker, gang: Attempt) -> None:
        """Let a member go whose gang has parted."""
        if worker.attempt is not gang or not worker.lives:
            return
        assert worker.seat is not None
        with self._meter.transaction("leave a seat") as session:
            assert not gangs.renew(session, worker.seat, worker.name, LEASE)
            gangs.leave(session, worker.seat, worker.name, None)
        self._release(worker)

    # Deaths

    def _live(self, worker: Worker) -> None:
        """Begin a worker's life: it has signed in for as long as it lives."""
        now, self._clock.now = self._clock.now, self._end
        with self._meter.transaction("sign in") as session:
            workers.sign_in(session, worker.name, worker.kind.devices)
        self._clock.now = now
        worker.lives = True
        if self._has_deaths:
            self._after(self._random.expovariate(1 / WEEK), self._die, worker)

    def _die(self, worker: Worker) -> None:
        attempt, left = worker.attempt, LEASE - self._beat()
        seats = [] if worker.reserved is None else [worker.reserved]
        if attempt is not None and worker.seat is not None:
            seats.append((worker.seat, attempt))
        worker.lives = False
        self._idle[worker.kind].pop(worker, None)
        with self._meter.transaction("last heartbeat") as session:
            workers.sign_in(session, worker.name, worker.kind.devices)
            for seat, _ in seats:
                gangs.renew(session, seat, worker.name, left)
            if attempt is not None and worker.seat is None:
                leases.beat(session, attempt.lease, left)
        self.outcome.deaths += 1
        self._after(self._random.expovariate(1 / _DOWN_SECONDS), self._restart, worker)
        if attempt is not None and worker.seat is None:
            self._stop(attempt)
            self._after(left + self._random.uniform(0, _SWEEP_SECONDS / len(self._workers)), self._sweep, attempt)
        for _, gang in seats:
            if gang.began is None:
                self._ring_after(left)  # then the seat is open again
            else:
                self._stop(gang)
                self._after(left + self._beat(), self._lose_member, gang)
            gang.members.discard(worker)
        if attempt is not None:
            self.outcome.leave(worker, self._clock.now)
        worker.attempt = worker.seat = worker.reserved = None

    def _restart(self, worker: Worker) -> None:
        worker.life += 1
        self._live(worker)
        self._idle[worker.kind][worker] = None
        self._wake(worker)

    def _stop(self, attempt: Attempt) -> None:
        """Stop a training that has lost a node: its work since the last checkpoint is lost."""
        if not attempt.is_over:
            attempt.job.deaths += 1
            attempt.is_over = True
            self._count_done(attempt, self._random.uniform(0, CHECKPOINT_SECONDS))

    def _sweep(self, attempt: Attempt) -> None:
        with self._meter.transaction("sweep") as session:
            leases.sweep(session, MAX_ATTEMPTS, _SETTINGS.backoff_seconds)
        self._dissolve(attempt)
        self._requeued(attempt)

    def _lose_member(self, attempt: Attempt) -> None:
        """Let the leader see that its gang is broken, unless it has died, too."""
        if attempt.leader.attempt is not attempt or not attempt.leader.lives:
            return
        with self._meter.transaction("lose a member") as session:
            assert gangs.state_of(session, attempt.lease).state == "broken"
            leases.abandon(session, attempt.lease, MAX_ATTEMPTS, "A worker was lost.", "member_lost")
        self._dissolve(attempt)
        self._requeued(attempt)
        self._release(attempt.leader)
