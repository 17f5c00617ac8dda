"""What befalls the machines, drawn by chance from a seed, and how much of it there was."""

import math
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from app.db.session import Database
from app.db.tables import JobRow
from app.jobs.states import LEASED
from tests.chaos.cluster import LEASE, Cluster, Node

_DRAINED = "drained worker"


@dataclass
class Death:
    """A worker that was killed while it held a job under a token."""

    at: float
    job: str
    token: int


class Faults:
    """Hurts one thing at a time; what was stopped goes on after a while, what died is started again."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self._cluster, self._chance = cluster, chance
        self._database = Database(cluster.settings.sql_url)
        self.counts: Counter[str] = Counter()
        self.deaths: list[Death] = []
        self.blurred: list[tuple[float, float]] = []  # when the database or a judge of silence was away
        self._stopped: list[tuple[float, list[psutil.Process]]] = []
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        self._kinds: list[tuple[str, int, Callable[[], None]]] = [
            ("killed worker", 4, self._kill_worker),
            ("killed supervisor", 2, self._kill_supervisor),
            ("killed trainer", 4, lambda: self._kill_one("trainer")),
            ("killed fork server", 1, lambda: self._kill_one("forkserver")),
            (_DRAINED, 2, self._drain_worker),
            ("frozen worker", 3, self._freeze_worker),
            ("frozen trainer", 1, self._freeze_trainer),
            ("killed API", 3, lambda: self._hurt(self._chance.choice(cluster.apis), signal.SIGKILL)),
            ("stopped API", 1, lambda: self._hurt(self._chance.choice(cluster.apis), signal.SIGTERM)),
            ("frozen API", 1, lambda: self._freeze(self._chance.choice(cluster.apis).tree(), 3)),
            ("emptied broker", 2, lambda: self._hurt(cluster.broker, signal.SIGKILL)),
            ("frozen broker", 1, lambda: self._freeze(cluster.broker.tree(), 3)),
            ("hurt database", 1, self._hurt_database),
            ("twenty rings", 2, lambda: cluster.ring(20)),
        ]

    def one(self) -> None:
        """Let one thing happen."""
        weights = [weight for _, weight, _ in self._kinds]
        ((name, _, act),) = self._chance.choices(self._kinds, weights)
        act()
        self.counts[name] += 1

    def _keep(self) -> None:
        """What was stopped for long enough goes on; what died is started again."""
        while not self._ending.wait(0.1):
            self._wake(time.monotonic())
            self._cluster.revive()

    def _wake(self, now: float) -> None:
        with self._lock:
            due = [one for one in self._stopped if one[0] <= now]
            self._stopped = [one for one in self._stopped if one[0] > now]
        for _, processes in due:
            for one in processes:
                with suppress(psutil.NoSuchProcess):
                    one.resume()

    def cease(self) -> None:
        """Nothing more is stopped; what died is still started again."""
        self._wake(math.inf)

    def close(self) -> None:
        """Nothing is started again any more."""
        self._ending.set()
        self._keeper.join()
        self._database.close()

    def _worker(self) -> Node:
        return self._chance.choice(self._cluster.workers)

    def _hurt(self, node: Node, number: int) -> None:
        node.signal(number)

    def _kill_worker(self) -> None:
        worker = self._worker()
        self._note_death(worker)
        worker.signal(signal.SIGKILL)

    def _kill_supervisor(self) -> None:
        worker = self._worker()
        self._note_death(worker)
        for one in worker.tree("celery")[1:]:
            with suppress(psutil.NoSuchProcess):
                one.kill()

    def _kill_one(self, word: str) -> None:
        found = self._worker().tree(word)
        if found:
            with suppress(psutil.NoSuchProcess):
                self._chance.choice(found).kill()

    def _drain_worker(self) -> None:
        self._worker().process.send_signal(signal.SIGTERM)

    def _freeze_worker(self) -> None:
        self._freeze(self._worker().tree(), self._chance.choice([1, LEASE + 3]))

    def _freeze_trainer(self) -> None:
        self._freeze(self._worker().tree("trainer"), self._chance.choice([1, 20]))

    def _freeze(self, processes: list[psutil.Process], seconds: float) -> None:
        frozen = []
        for one in processes:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
                frozen.append(one)
        with self._lock:
            self._stopped.append((time.monotonic() + seconds, frozen))

    def _hurt_database(self) -> None:
        began = time.time()
        self._cluster.hurt_database(self._chance.choice([signal.SIGINT, signal.SIGKILL]), 3)
        self.blurred.append((began, time.time() + 3 + LEASE))

    def _note_death(self, worker: Node) -> None:
        """Which job its supervisor held, so that it can be seen how soon another takes it."""
        owners = [self._cluster.owner_of(one) for one in worker.tree("celery")]
        try:
            with self._database.reading() as session:
                held = session.query(JobRow.id, JobRow.token).filter(
                    JobRow.owner.in_(owners), JobRow.status.in_(LEASED)
                )
                self.deaths += [Death(time.time(), row.id, row.token) for row in held]
        except Exception:  # noqa: BLE001 - the database may be away just now, and then nothing can be known
            return
