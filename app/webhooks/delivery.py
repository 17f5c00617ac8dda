"""Delivers messages: threads in every API process claim due deliveries from SQL, send them, and write what came of it.

At most once at a time: a claim is a compare-and-set with a lease. At least once: a delivery whose process died is due
again when its lease runs out. The receiver's 2xx ends it; without one it is a dead letter at last. Webhooks take turns,
one never has more than a few threads, and those whose last attempt failed never have all.
"""

import logging
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import failpoints
from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.metrics import Metrics
from app.settings import Settings
from app.webhooks import repository, signing
from app.webhooks.addresses import Policy
from app.webhooks.repository import Claim
from app.webhooks.sending import Outcome, attempt

log = logging.getLogger(__name__)

LEASE_SECONDS = 20.0  # an attempt takes 5 at most
MAX_RETRY_AFTER_SECONDS = 86_400.0
HEADERS = {"content-type": "application/json", "user-agent": "Graftwork"}
_THREADS = 8
_THREADS_OF_WEBHOOK = 2
_THREADS_OF_FAILING = 4  # of all webhooks together whose last attempt failed; one of them has one
_JITTER = 0.2
_GONE = 410
_DAY_SECONDS = 86_400


class Deliverer(PeriodicThread):
    """Delivers what is due, looking every `webhook_seconds`; never where that is 0."""

    stop_seconds = 10.0

    def __init__(self, database: Database, settings: Settings, metrics: Metrics) -> None:
        super().__init__("webhooks", settings.webhook_seconds, first=0.0)
        self._database = database
        self._settings = settings
        self._metrics = metrics
        self._policy = Policy.of(settings)
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()  # attempts by webhook
        self._failing: Counter[str] = Counter()  # those of webhooks whose last attempt failed
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="webhook")

    def stop(self) -> None:
        """End after the attempts under way."""
        super().stop()
        self._pool.shutdown()

    def act(self) -> None:
        """Begin the attempts that are due, as far as there are threads; one that ends makes room for the next."""
        while self._begin_one():
            pass

    def _begin_one(self) -> bool:
        """Claim a delivery and begin its attempt in a thread; return False where there is none, or no thread."""
        with self._lock:
            full = self._under_way.total() >= _THREADS
            busy = [
                webhook
                for webhook, number in self._under_way.items()
                if number >= (1 if self._failing[webhook] else _THREADS_OF_WEBHOOK)
            ]
            failing = self._failing.total() < _THREADS_OF_FAILING
        if self.is_stopping or full or not self._is_any_due():
            return False
        claim = self._database.transact(lambda session: repository.claim(session, LEASE_SECONDS, busy, failing=failing))
        if claim is None:
            return False
        with self._lock:
            self._under_way[claim.webhook_id] += 1
            self._failing[claim.webhook_id] += claim.is_failing
        self._pool.submit(self._deliver, claim)
        return True

    def _is_any_due(self) -> bool:
        with self._database.reading() as session:
            return repository.is_any_due(session)

    def _deliver(self, claim: Claim) -> None:
        try:
            self._send(claim)
        except SQLAlchemyError as error:
            log.warning("what came of %s is not written, it is sent again: %s", claim.id, type(error).__name__)
        except Exception:
            log.exception("the attempt at %s failed; it is made again", claim.id)
        finally:
            with self._lock:
                self._under_way -= Counter({claim.webhook_id: 1})
                self._failing -= Counter({claim.webhook_id: int(claim.is_failing)})
            self.wake()

    def _send(self, claim: Claim) -> None:
        body = claim.body.encode()
        if claim.attempt > 1 + len(self._settings.webhook_backoff_seconds):
            outcome = Outcome(None, "The service ended during each of the last attempts.", 0.0)
        else:
            outcome = send(claim.url, claim.secrets, claim.id, body, self._policy)
        failpoints.reach("webhook.sent")
        ending = self._database.transact(lambda session: self._record(session, claim, outcome))
        self._metrics.webhook_attempt(ending)
        if ending == "dead":
            log.warning("delivery %s of %s is dead: %s", claim.id, claim.webhook_id, outcome.error)

    def _record(self, session: Session, claim: Claim, outcome: Outcome) -> str:
        """Write what came of an attempt; return delivered, failed or dead."""
        if outcome.error is None:
            assert outcome.status is not None
            repository.delivered(session, claim, outcome.status)
            return "delivered"
        wait = None if outcome.status == _GONE else self._wait(claim.attempt, outcome.retry_after)
        repository.failed(session, claim, outcome.status, outcome.error, wait)
        if outcome.status == _GONE:
            repository.disable(session, claim.webhook_id, "Its receiver answered 410, that it is gone for good.")
        elif wait is None:
            self._disable_hopeless(session, claim.webhook_id, outcome.error)
        return "failed" if wait is not None else "dead"

    def _wait(self, made: int, asked: float | None) -> float | None:
        """Return the seconds until the next attempt after `made` ones, at least those asked for; None: no more."""
        delays = self._settings.webhook_backoff_seconds
        if made > len(delays):
            return None
        delay = delays[made - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads attempts
        return max(delay, min(asked or 0.0, MAX_RETRY_AFTER_SECONDS))

    def _disable_hopeless(self, session: Session, webhook_id: str, error: str) -> None:
        """Disable a webhook whose deliveries have died for days."""
        seconds = repository.fails_for(session, webhook_id)
        if seconds >= self._settings.webhook_failing_days * _DAY_SECONDS > 0:
            reason = f"Every attempt has failed for {seconds / _DAY_SECONDS:.1f} days. The last one: {error}"
            repository.disable(session, webhook_id, reason)


def send(url: str, secrets: tuple[str, ...], message_id: str, body: bytes, policy: Policy) -> Outcome:
    """Sign a message and send it once."""
    return attempt(url, HEADERS | signing.headers(secrets, message_id, int(time.time()), body), body, policy)
