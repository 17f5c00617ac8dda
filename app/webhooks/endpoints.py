"""/v1/webhooks."""

from typing import Annotated, Any

from fastapi import Body, Path, Query

from app.dependencies import Reading, State
from app.errors import Problem
from app.idempotency.service import IdempotencyKey
from app.kit.pages import Listing, PageQuery
from app.security import CanRead, CanWrite, secure_router
from app.webhooks import service
from app.webhooks.schemas import (
    NewWebhook,
    SecretRequest,
    Status,
    Webhook,
    WebhookChange,
    WebhookDelivery,
    WebhookRequest,
    WebhookTest,
)

router = secure_router("/v1/webhooks", "webhooks")

WebhookPath = Annotated[str, Path(max_length=64)]
DeliveryPath = Annotated[str, Path(max_length=64)]
MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such webhook, or it has no such delivery."}
}
FULL: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The project has as many webhooks as it may have."}
}
SECRETS: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "Too many earlier secrets sign still."}
}
DISABLED: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The webhook is disabled."}}


@router.post("", status_code=201, responses=FULL)
def create_webhook(state: State, principal: CanWrite, body: WebhookRequest, key: IdempotencyKey) -> NewWebhook:
    """Make a webhook: messages about events of the project are sent to its URL. Its secret is shown this once."""
    return service.create(state, principal.project_id, body, key)


@router.get("")
def list_webhooks(session: Reading, principal: CanRead, page: PageQuery) -> Listing[Webhook]:
    """List the webhooks of the project, newest first, without their secrets."""
    return service.list_page(session, principal.project_id, page)


@router.get("/{webhook_id}", responses=MISSING)
def get_webhook(session: Reading, principal: CanRead, webhook_id: WebhookPath) -> Webhook:
    """Return a webhook: whether it is enabled, and why not."""
    return service.get(session, principal.project_id, webhook_id)


@router.patch("/{webhook_id}", responses=MISSING)
def change_webhook(state: State, principal: CanWrite, webhook_id: WebhookPath, body: WebhookChange) -> Webhook:
    """Change URL, events or name of a webhook, or disable or enable it."""
    return service.change(state, principal.project_id, webhook_id, body)


@router.delete("/{webhook_id}", status_code=204, responses=MISSING)
def delete_webhook(state: State, principal: CanWrite, webhook_id: WebhookPath) -> None:
    """Delete a webhook and its deliveries."""
    state.database.transact(lambda session: service.delete(session, principal.project_id, webhook_id))


@router.post("/{webhook_id}/secret", status_code=201, responses=MISSING | SECRETS)
def rotate_webhook_secret(
    state: State,
    principal: CanWrite,
    webhook_id: WebhookPath,
    key: IdempotencyKey,
    body: Annotated[SecretRequest | None, Body()] = None,
) -> NewWebhook:
    """Give a webhook a new secret, shown this once; earlier ones sign, too, for a while."""
    overlap = (body or SecretRequest()).overlap
    return service.rotate(state, principal.project_id, webhook_id, overlap, key)


@router.post("/{webhook_id}/test", responses=MISSING)
def test_webhook(state: State, principal: CanWrite, webhook_id: WebhookPath) -> WebhookTest:
    """Send a message of type `webhook.test` now, and return what the receiver said; disabled webhooks, too."""
    return service.test(state, principal.project_id, webhook_id)


@router.get("/{webhook_id}/deliveries", responses=MISSING)
def list_webhook_deliveries(
    session: Reading,
    principal: CanRead,
    webhook_id: WebhookPath,
    page: PageQuery,
    status: Annotated[Status | None, Query(description="Only those of this status.")] = None,
) -> Listing[WebhookDelivery]:
    """List the deliveries of a webhook, newest first."""
    return service.list_deliveries(session, principal.project_id, webhook_id, page, status)


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202, responses=MISSING | DISABLED)
def redeliver_webhook(
    state: State, principal: CanWrite, webhook_id: WebhookPath, delivery_id: DeliveryPath
) -> WebhookDelivery:
    """Deliver a message again, whatever became of it, under its id and with the attempts of a new one."""
    return state.database.transact(
        lambda session: service.redeliver(session, principal.project_id, webhook_id, delivery_id)
    )
