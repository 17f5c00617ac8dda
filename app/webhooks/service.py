"""Makes, changes, tests and lists webhooks, and their deliveries."""

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from app.dependencies import Services
from app.errors import ConflictError, ErrorItem, NotFoundError, UnprocessableError
from app.idempotency.service import fingerprint, once
from app.kit.ids import new_id
from app.kit.pages import Listing, Page, listing
from app.webhooks import repository
from app.webhooks.addresses import Policy, RefusedAddressError, UnresolvedError, parse
from app.webhooks.delivery import send
from app.webhooks.event_types import TEST
from app.webhooks.outbox import message
from app.webhooks.repository import WebhookDeliveryRow, WebhookRow, valid_secrets
from app.webhooks.schemas import (
    NewWebhook,
    Status,
    Webhook,
    WebhookChange,
    WebhookDelivery,
    WebhookRequest,
    WebhookTest,
)
from app.webhooks.signing import new_secret

MAX_WEBHOOKS = 50  # of one project: each event looks at all of them
MAX_OLD_SECRETS = 5
_RESOLVE_SECONDS = 2.0
_BY_USER = "Disabled by a request."


def create(state: Services, project_id: str, body: WebhookRequest, key: str | None) -> NewWebhook:
    """Make a webhook.

    Raises:
        UnprocessableError: its URL is none that may be sent to.
        ConflictError: the project has as many webhooks as it may have.
    """
    _check_url(state, body.url)

    def make(session: Session) -> NewWebhook:
        if repository.count(session, project_id) >= MAX_WEBHOOKS:
            msg = f"This project has {MAX_WEBHOOKS} webhooks, which is the most: delete one that nobody uses."
            raise ConflictError(msg, code="too_many_webhooks")
        secret = new_secret()
        events = list(dict.fromkeys(body.events))
        row = repository.add(session, project_id, name=body.name, url=body.url, events=events, secret=secret)
        return _with_secret(session, row)

    request = fingerprint("POST /v1/webhooks", body.model_dump_json())
    return _once(state, project_id, key, request, make)


def change(state: Services, project_id: str, webhook_id: str, body: WebhookChange) -> Webhook:
    """Change what a request names of a webhook.

    Raises:
        NotFoundError: the project has no such webhook.
        UnprocessableError: its URL is none that may be sent to.
    """
    with state.database.reading() as session:
        _find(session, project_id, webhook_id)
    if body.url is not None:
        _check_url(state, body.url)

    def apply(session: Session) -> Webhook:
        row = _find(session, project_id, webhook_id, lock=True)
        for name in body.model_fields_set - {"enabled"}:
            setattr(row, name, getattr(body, name))
        if body.url is not None:
            row.failing_since = None  # what failed was another receiver
        if body.enabled and not row.enabled:
            row.enabled, row.disabled_reason, row.disabled_at, row.failing_since = True, None, None, None
        session.flush()
        if body.enabled is False and repository.disable(session, row.id, _BY_USER):
            session.refresh(row)
        return _shown(session, row)

    return state.database.transact(apply)


def rotate(state: Services, project_id: str, webhook_id: str, overlap: float, key: str | None) -> NewWebhook:
    """Give a webhook a new secret; earlier ones sign, too, for `overlap` seconds, and never longer.

    Raises:
        NotFoundError: the project has no such webhook.
        ConflictError: too many earlier secrets sign still.
    """

    def make(session: Session) -> NewWebhook:
        row = _find(session, project_id, webhook_id, lock=True)
        now = repository.now(session)
        earlier = [{"secret": row.secret, "until": now + overlap}, *row.old_secrets]
        kept = [{**old, "until": min(old["until"], now + overlap)} for old in earlier if old["until"] > now]
        kept = [old for old in kept if old["until"] > now]
        if len(kept) > MAX_OLD_SECRETS:
            msg = f"{MAX_OLD_SECRETS} earlier secrets sign still: wait until they end, or take an overlap of 0."
            raise ConflictError(msg, code="too_many_secrets")
        row.secret, row.old_secrets = new_secret(), kept
        session.flush()
        return _with_secret(session, row)

    return _once(state, project_id, key, fingerprint("rotate", webhook_id, str(overlap)), make)


def test(state: Services, project_id: str, webhook_id: str) -> WebhookTest:
    """Send a message of type `webhook.test`, and return what the receiver said. Raises NotFoundError."""
    with state.database.reading() as session:
        row = _find(session, project_id, webhook_id)
        now = repository.now(session)
    data = {"object": "webhook", "id": row.id, "name": row.name, "links": {"self": f"/v1/webhooks/{row.id}"}}
    message_id, body = new_id("msg"), message(TEST, now, data).encode()
    secrets = valid_secrets(row.secret, row.old_secrets, now)
    outcome = send(row.url, secrets, message_id, body, Policy.of(state.settings))
    return WebhookTest(
        id=message_id,
        delivered=outcome.error is None,
        status=outcome.status,
        error=outcome.error,
        seconds=outcome.seconds,
    )


def delete(session: Session, project_id: str, webhook_id: str) -> None:
    """Delete a webhook and its deliveries. Raises NotFoundError."""
    repository.remove(session, _find(session, project_id, webhook_id, lock=True).id)


def get(session: Session, project_id: str, webhook_id: str) -> Webhook:
    """Return a webhook. Raises NotFoundError."""
    return _shown(session, _find(session, project_id, webhook_id))


def list_page(session: Session, project_id: str, limits: Page) -> Listing[Webhook]:
    """Return one page of the webhooks of a project."""
    rows, has_more = repository.page(session, project_id, limits)
    return Listing[Webhook](**listing([_shown(session, row) for row in rows], has_more=has_more))


def list_deliveries(
    session: Session, project_id: str, webhook_id: str, limits: Page, status: Status | None
) -> Listing[WebhookDelivery]:
    """Return one page of the deliveries of a webhook. Raises NotFoundError."""
    webhook = _find(session, project_id, webhook_id)
    rows, has_more = repository.deliveries(session, webhook.id, limits, status)
    return Listing[WebhookDelivery](**listing([_delivery(row) for row in rows], has_more=has_more))


def redeliver(session: Session, project_id: str, webhook_id: str, delivery_id: str) -> WebhookDelivery:
    """Let a delivery begin anew, at once, under the id that it had.

    Raises:
        NotFoundError: the project has no such webhook, or it no such delivery.
        ConflictError: the webhook is disabled.
    """
    webhook = _find(session, project_id, webhook_id)
    row = repository.find_delivery(session, webhook.id, delivery_id)
    if row is None:
        msg = "This webhook has no such delivery; GET /v1/webhooks/{id}/deliveries lists them."
        raise NotFoundError(msg, code="delivery_not_found")
    if not webhook.enabled:
        msg = "This webhook is disabled, so that nothing is sent to it: enable it first by PATCH."
        raise ConflictError(msg, code="webhook_disabled")
    now = repository.now(session)
    row.status, row.attempts, row.ended_at = "pending", 0, None
    row.queued_at = row.next_attempt_at = now
    session.flush()
    return _delivery(row)


def _once(
    state: Services, project_id: str, key: str | None, request: str, make: Callable[[Session], NewWebhook]
) -> NewWebhook:
    return state.database.transact(
        lambda session: once(session, project_id, key, request, lambda: make(session), NewWebhook)
    )


def _check_url(state: Services, url: str) -> None:
    """Check a URL as each attempt will. A name without an address passes: it may have one when it is needed.

    Raises:
        UnprocessableError: it is none that may be sent to.
    """
    try:
        Policy.of(state.settings).addresses(parse(url), _RESOLVE_SECONDS)
    except UnresolvedError:
        return
    except RefusedAddressError as error:
        item = ErrorItem(loc=["body", "url"], msg=str(error))
        msg = f"url: {error}"
        raise UnprocessableError(msg, code="address_refused", errors=[item]) from None


def _find(session: Session, project_id: str, webhook_id: str, *, lock: bool = False) -> WebhookRow:
    row = repository.find(session, project_id, webhook_id, lock=lock)
    if row is None:
        msg = "There is no such webhook; GET /v1/webhooks lists them."
        raise NotFoundError(msg, code="webhook_not_found")
    return row


def _fields(session: Session, row: WebhookRow) -> dict[str, Any]:
    now = repository.now(session)
    until = [old["until"] for old in row.old_secrets if old["until"] > now]
    plain = {name: getattr(row, name) for name in Webhook.model_fields if name not in ("object", "old_secrets_until")}
    return {**plain, "old_secrets_until": max(until, default=None)}


def _shown(session: Session, row: WebhookRow) -> Webhook:
    return Webhook(**_fields(session, row))


def _with_secret(session: Session, row: WebhookRow) -> NewWebhook:
    return NewWebhook(**_fields(session, row), secret=row.secret)


def _delivery(row: WebhookDeliveryRow) -> WebhookDelivery:
    plain = {name: getattr(row, name) for name in WebhookDelivery.model_fields if name not in ("object", "payload")}
    if row.status != "pending":
        plain["next_attempt_at"] = None
    return WebhookDelivery(**plain, payload=json.loads(row.body))
