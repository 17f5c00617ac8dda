"""SQL of webhooks and their deliveries. Times are the database's clock."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, delete, exists, func, insert, or_, select, true, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.db.tables import DatasetRow, JobRow, ModelRow, WebhookDeliveryRow, WebhookRow
from app.kit.ids import new_id
from app.kit.pages import Page, fetch_page

__all__ = ["WebhookDeliveryRow", "WebhookRow"]  # services know the types of rows from here

_NO_ORM = {"synchronize_session": False}
_DAY_SECONDS = 86_400
_MAX_FORGOTTEN = 1000  # in one transaction
MAX_COUNTED = 10_000  # deliveries of a status that figures count
STATUSES = ("pending", "delivered", "dead")
_Delivery, _Webhook = WebhookDeliveryRow, WebhookRow


def now(session: Session) -> float:
    """Return the database's time."""
    return session.execute(select(db_now())).scalar_one()


# ---- webhooks ----


def add(session: Session, project_id: str, **columns: Any) -> WebhookRow:
    """Insert a webhook that is enabled."""
    row = WebhookRow(id=new_id("wh"), project_id=project_id, enabled=True, old_secrets=[], created_at=now(session))
    for name, value in columns.items():
        setattr(row, name, value)
    session.add(row)
    session.flush()
    return row


def count(session: Session, project_id: str) -> int:
    """Count the webhooks of a project."""
    return session.execute(select(func.count()).where(WebhookRow.project_id == project_id)).scalar_one()


def find(session: Session, project_id: str, webhook_id: str, *, lock: bool = False) -> WebhookRow | None:
    """Return a webhook of the project; with `lock` nobody else changes it until the transaction ends."""
    query = select(WebhookRow).where(WebhookRow.id == webhook_id, WebhookRow.project_id == project_id)
    return session.scalar(query.with_for_update() if lock else query)


def page(session: Session, project_id: str, limits: Page) -> tuple[list[WebhookRow], bool]:
    """Return one page of the project's webhooks, and whether more follow."""
    return fetch_page(session, select(WebhookRow).where(WebhookRow.project_id == project_id), WebhookRow.id, limits)


def remove(session: Session, webhook_id: str) -> None:
    """Delete a webhook and its deliveries."""
    session.execute(delete(WebhookDeliveryRow).where(WebhookDeliveryRow.webhook_id == webhook_id))
    session.execute(delete(WebhookRow).where(WebhookRow.id == webhook_id))


def disable(session: Session, webhook_id: str, reason: str) -> bool:
    """Disable a webhook; what was still to be delivered is dead. Return False where it was disabled before."""
    values = {"enabled": False, "disabled_reason": reason, "disabled_at": db_now()}
    change = update(WebhookRow).where(WebhookRow.id == webhook_id, WebhookRow.enabled.is_(True)).values(**values)
    changed = session.execute(change.returning(WebhookRow.id).execution_options(**_NO_ORM)).first() is not None
    pending = (_Delivery.webhook_id == webhook_id) & (_Delivery.status == "pending")
    dead = {"status": "dead", "ended_at": db_now(), "last_error": reason}
    session.execute(update(WebhookDeliveryRow).where(pending).values(**dead).execution_options(**_NO_ORM))
    return changed


# ---- the outbox: written in the transactions of the events ----


class Listener(NamedTuple):
    """An enabled webhook, and the patterns of the events that it wants."""

    id: str
    events: list[str]


def listeners(session: Session, project_id: str) -> list[Listener]:
    """Return the enabled webhooks of a project."""
    query = select(WebhookRow.id, WebhookRow.events).where(WebhookRow.project_id == project_id)
    return [Listener(*row) for row in session.execute(query.where(WebhookRow.enabled.is_(True)))]


def listeners_to_job(session: Session, job_id: str) -> list[Listener]:
    """Return the enabled webhooks of a job's project; none for a trial, whose sweep tells of it."""
    query = select(WebhookRow.id, WebhookRow.events).join(JobRow, JobRow.project_id == WebhookRow.project_id)
    listens = (JobRow.id == job_id) & JobRow.sweep_id.is_(None) & WebhookRow.enabled.is_(True)
    return [Listener(*row) for row in session.execute(query.where(listens))]


def queue(session: Session, webhook_ids: Collection[str], event_type: str, body: str, created_at: float) -> None:
    """Insert a delivery of a message to each of these webhooks."""
    times = dict.fromkeys(("created_at", "queued_at", "next_attempt_at"), created_at)
    values = {"type": event_type, "body": body, "status": "pending", "attempts": 0, "token": 0, **times}
    rows = [{"id": new_id("msg"), "webhook_id": webhook_id, **values} for webhook_id in webhook_ids]
    session.connection().execute(insert(WebhookDeliveryRow), rows)


class JobFacts(NamedTuple):
    """What messages say of a job."""

    kind: str
    name: str | None
    dataset: str | None
    outputs: list[str]


def job_facts(session: Session, job_id: str) -> JobFacts:
    """Return what messages say of a job."""
    kind, name, dataset = session.execute(
        select(JobRow.kind, JobRow.name, JobRow.dataset_id).where(JobRow.id == job_id)
    ).one()
    outputs = select(ModelRow.id).where(ModelRow.job_id == job_id, ModelRow.deleted_at.is_(None))
    return JobFacts(kind, name, dataset, list(session.scalars(outputs)))


class DatasetFacts(NamedTuple):
    """What messages say of a dataset."""

    project_id: str
    name: str
    status: str
    job: str | None
    error: Mapping[str, Any] | None


def dataset_facts(session: Session, dataset_id: str) -> DatasetFacts:
    """Return what messages say of a dataset."""
    columns = (DatasetRow.project_id, DatasetRow.name, DatasetRow.status, DatasetRow.job_id, DatasetRow.error)
    return DatasetFacts(*session.execute(select(*columns).where(DatasetRow.id == dataset_id)).one())


def version_of(session: Session, model_id: str) -> int:
    """Return the version of a model."""
    return session.execute(select(ModelRow.version).where(ModelRow.id == model_id)).scalar_one()


# ---- deliveries ----


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt at a delivery, and what it sends."""

    id: str
    webhook_id: str
    token: int
    attempt: int
    body: str
    url: str
    secrets: tuple[str, ...]
    is_failing: bool


def deliveries(
    session: Session, webhook_id: str, limits: Page, status: str | None
) -> tuple[list[WebhookDeliveryRow], bool]:
    """Return one page of the deliveries of a webhook, and whether more follow."""
    query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.webhook_id == webhook_id)
    if status is not None:
        query = query.where(WebhookDeliveryRow.status == status)
    return fetch_page(session, query, WebhookDeliveryRow.id, limits)


def find_delivery(session: Session, webhook_id: str, delivery_id: str) -> WebhookDeliveryRow | None:
    """Return a delivery of a webhook, locked until the transaction ends."""
    own = (WebhookDeliveryRow.id == delivery_id) & (WebhookDeliveryRow.webhook_id == webhook_id)
    return session.scalar(select(WebhookDeliveryRow).where(own).with_for_update())


def is_any_due(session: Session) -> bool:
    """Whether some delivery is due that nobody is attempting."""
    due = select(_Delivery.id).join(_Webhook, _Webhook.id == _Delivery.webhook_id).where(_is_due(now(session)))
    return session.execute(due.limit(1)).first() is not None


def claim(session: Session, seconds: float, busy: Collection[str], *, failing: bool) -> Claim | None:
    """Take a due delivery for so many seconds, of the webhook that was served longest ago; None where there is none.

    None of the webhooks in `busy` is served, nor, unless `failing`, one whose last attempt failed. The attempt is
    counted at once, so that a delivery that ends its process each time runs out of them.
    """
    time = now(session)
    due = _is_due(time) & _Webhook.id.not_in(busy)
    if not failing:
        due &= _Webhook.failing_since.is_(None)
    best = (
        select(_Delivery.id)
        .join(_Webhook, _Webhook.id == _Delivery.webhook_id)
        .where(due)
        .order_by(_Webhook.served_at, _Delivery.next_attempt_at, _Delivery.id)
        .limit(1)
        .with_for_update(of=_Delivery, skip_locked=True)
    )
    counted = {"token": _Delivery.token + 1, "attempts": _Delivery.attempts + 1}
    take = (
        update(_Delivery)
        .where(_Delivery.id == best.scalar_subquery(), _Delivery.status == "pending", _is_free(time))
        .values(**counted, lease_until=time + seconds, last_attempt_at=time)
        .returning(_Delivery.id, _Delivery.webhook_id, _Delivery.token, _Delivery.attempts, _Delivery.body)
    )
    taken = session.execute(take.execution_options(**_NO_ORM)).one_or_none()
    if taken is None:
        return None
    serve = (
        update(_Webhook)
        .where(_Webhook.id == taken.webhook_id)
        .values(served_at=time)
        .returning(_Webhook.url, _Webhook.secret, _Webhook.old_secrets, _Webhook.failing_since)
    )
    webhook = session.execute(serve.execution_options(**_NO_ORM)).one_or_none()
    if webhook is None:
        return None  # deleted at this moment
    return Claim(
        *taken,
        url=webhook.url,
        secrets=valid_secrets(webhook.secret, webhook.old_secrets, time),
        is_failing=webhook.failing_since is not None,
    )


def valid_secrets(secret: str, old_secrets: list[dict[str, Any]], time: float) -> tuple[str, ...]:
    """Return the secrets that sign at a time, the newest first."""
    return (secret, *(old["secret"] for old in old_secrets if old["until"] > time))


def delivered(session: Session, claim: Claim, status: int) -> None:
    """Note that the receiver has taken a message."""
    values = {"status": "delivered", "ended_at": db_now(), "lease_until": None, "last_error": None}
    _end_attempt(session, claim, true(), last_status=status, **values)
    is_failing = (WebhookRow.id == claim.webhook_id) & WebhookRow.failing_since.is_not(None)
    well = update(WebhookRow).where(is_failing).values(failing_since=None)
    session.execute(well.execution_options(**_NO_ORM))


def failed(session: Session, claim: Claim, status: int | None, error: str, wait: float | None) -> None:
    """Note that an attempt failed; the next one is in `wait` seconds, and where there is none the delivery is dead."""
    values: dict[str, Any] = (
        {"status": "dead", "ended_at": db_now()} if wait is None else {"next_attempt_at": db_now() + wait}
    )
    values |= {"lease_until": None, "last_status": status, "last_error": error}
    _end_attempt(session, claim, _Delivery.status == "pending", **values)
    is_first = (WebhookRow.id == claim.webhook_id) & WebhookRow.failing_since.is_(None)
    session.execute(update(WebhookRow).where(is_first).values(failing_since=db_now()).execution_options(**_NO_ORM))


def fails_for(session: Session, webhook_id: str) -> float:
    """Return for how many seconds every attempt of a webhook has failed."""
    since = session.scalar(select(WebhookRow.failing_since).where(WebhookRow.id == webhook_id))
    return 0.0 if since is None else now(session) - since


def _end_attempt(session: Session, claim: Claim, which: ColumnElement[bool], **values: Any) -> None:
    own = (_Delivery.id == claim.id) & (_Delivery.token == claim.token)
    change = update(_Delivery).where(own, which).values(**values)
    session.execute(change.execution_options(**_NO_ORM))


def _is_due(time: float) -> ColumnElement[bool]:
    return (_Delivery.status == "pending") & (_Delivery.next_attempt_at <= time) & _is_free(time) & _Webhook.enabled


def _is_free(time: float) -> ColumnElement[bool]:
    return or_(_Delivery.lease_until.is_(None), _Delivery.lease_until <= time)


def forget_ended(session: Session, days: float) -> int:
    """Delete deliveries that ended so long ago, and those whose webhook is gone; return how many, 1000 at most."""
    is_old = (_Delivery.status != "pending") & (_Delivery.ended_at <= db_now() - days * _DAY_SECONDS)
    is_orphan = ~exists().where(_Webhook.id == _Delivery.webhook_id)
    ids = list(session.scalars(select(_Delivery.id).where(is_old | is_orphan).limit(_MAX_FORGOTTEN)))
    session.execute(delete(_Delivery).where(_Delivery.id.in_(ids)).execution_options(**_NO_ORM))
    return len(ids)


def counts(session: Session) -> dict[str, int]:
    """Return how many deliveries are kept by status, over all projects; of each status MAX_COUNTED at most."""
    return {status: session.execute(_count(status)).scalar_one() for status in STATUSES}


def _count(status: str) -> Select[int]:
    rows = select(_Delivery.id).where(_Delivery.status == status).limit(MAX_COUNTED).subquery()
    return select(func.count()).select_from(rows)


def longest_wait(session: Session) -> float:
    """Return for how many seconds the oldest pending delivery has waited; 0 where there is none."""
    oldest = session.scalar(select(func.min(_Delivery.queued_at)).where(_Delivery.status == "pending"))
    return 0.0 if oldest is None else max(0.0, now(session) - oldest)
