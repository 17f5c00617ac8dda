"""The resource /v1/webhooks."""

from collections.abc import AsyncIterator
from typing import Unpack

from graftwork import answers, requests
from graftwork._async.transport import AsyncTransport


class AsyncWebhooks:
    """Makes, changes, tests and lists webhooks, and their deliveries: /v1/webhooks."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(self, **fields: Unpack[requests.WebhookRequest]) -> answers.NewWebhook:
        """Make a webhook; its secret is answered this once."""
        return await self._transport.create(answers.NewWebhook, "POST /v1/webhooks", json=fields)

    async def list(self, **filters: Unpack[requests.WebhookFilters]) -> AsyncIterator[answers.Webhook]:
        """Yield the webhooks of the project, newest first, without their secrets."""
        async for webhook in self._transport.items(answers.Webhook, "GET /v1/webhooks", filters):
            yield webhook

    async def get(self, webhook_id: str) -> answers.Webhook:
        """Return a webhook: whether it is enabled, and why not."""
        return await self._transport.ask(answers.Webhook, "GET /v1/webhooks/{webhook_id}", webhook_id)

    async def change(self, webhook_id: str, **fields: Unpack[requests.WebhookChange]) -> answers.Webhook:
        """Change URL, events or name of a webhook, or disable or enable it."""
        route = "PATCH /v1/webhooks/{webhook_id}"
        return await self._transport.ask(answers.Webhook, route, webhook_id, json=fields)

    async def delete(self, webhook_id: str) -> None:
        """Delete a webhook and its deliveries."""
        await self._transport.send("DELETE /v1/webhooks/{webhook_id}", webhook_id)

    async def rotate(self, webhook_id: str, **fields: Unpack[requests.SecretRequest]) -> answers.NewWebhook:
        """Give a webhook a new secret, answered this once; earlier ones sign, too, for `overlap` seconds."""
        route = "POST /v1/webhooks/{webhook_id}/secret"
        return await self._transport.create(answers.NewWebhook, route, webhook_id, json=fields)

    async def test(self, webhook_id: str) -> answers.WebhookTest:
        """Send a message of type `webhook.test`, and return what the receiver said."""
        return await self._transport.ask(answers.WebhookTest, "POST /v1/webhooks/{webhook_id}/test", webhook_id)

    async def deliveries(
        self, webhook_id: str, **filters: Unpack[requests.DeliveryFilters]
    ) -> AsyncIterator[answers.WebhookDelivery]:
        """Yield the deliveries of a webhook, newest first."""
        route = "GET /v1/webhooks/{webhook_id}/deliveries"
        async for delivery in self._transport.items(answers.WebhookDelivery, route, filters, webhook_id):
            yield delivery

    async def redeliver(self, webhook_id: str, delivery_id: str) -> answers.WebhookDelivery:
        """Deliver a message again, under its id."""
        route = "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return await self._transport.ask(answers.WebhookDelivery, route, webhook_id, delivery_id)
