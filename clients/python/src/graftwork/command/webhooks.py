"""The commands on webhooks: URLs that are sent messages when jobs end, datasets are ready or aliases move."""

from itertools import islice
from typing import Annotated, Any

import typer

from graftwork.command.references import WebhookRef, webhook_of
from graftwork.command.session import REFUSED, Session, asks

webhooks = typer.Typer(
    help="Webhooks: create, list, show, change, disable, enable, test, deliveries, redeliver, rotate, delete.",
    no_args_is_help=True,
)

EVENTS = "A type of event, such as job.failed, or a pattern: 'job.*', '*'. May be repeated."
SHOWN = (
    "id",
    "name",
    "url",
    "events",
    "enabled",
    "disabled_reason",
    "disabled_at",
    "failing_since",
    "old_secrets_until",
    "secret",
)

Name = Annotated[str | None, typer.Option(help="What it is for; other commands take it instead of the id.")]


@webhooks.command("create")
@asks
def create_webhook(
    at: Session,
    receiver: Annotated[str, typer.Argument(metavar="URL", help="Where messages are sent by POST.")],
    event: Annotated[list[str], typer.Option(help=EVENTS)],
    name: Name = None,
) -> None:
    """Make a webhook and print its secret, quietly the secret alone. It cannot be shown again."""
    _show_new(at, at.graftwork.webhooks.create(url=receiver, events=event, name=name))


@webhooks.command("list")
@asks
def list_webhooks(at: Session) -> None:
    """List the webhooks, newest first, without their secrets."""
    fields = {field: field for field in ("id", "name", "url")}
    at.table(
        at.graftwork.webhooks.list(),
        **fields,
        events=lambda webhook: ",".join(webhook["events"]),
        enabled="enabled",
        failing_since="failing_since",
    )


@webhooks.command("show")
@asks
def show_webhook(at: Session, webhook: WebhookRef) -> None:
    """Print a webhook: whether it is enabled, why not, and since when its messages have failed."""
    at.show(webhook_of(at, webhook), *SHOWN)


@webhooks.command("change")
@asks
def change_webhook(
    at: Session,
    webhook: WebhookRef,
    receiver: Annotated[str | None, typer.Option(metavar="URL", help="Another URL to send messages to.")] = None,
    event: Annotated[list[str] | None, typer.Option(help=f"{EVENTS} They replace those it has.")] = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
) -> None:
    """Change where messages of a webhook go, which events it has, or its name."""
    given = {"url": receiver, "events": event or None, "name": name}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        msg = "nothing to change: give --receiver, --event or --name"
        raise ValueError(msg)
    _change(at, webhook, **changes)


@webhooks.command("disable")
@asks
def disable_webhook(at: Session, webhook: WebhookRef) -> None:
    """Send nothing to a webhook, and keep no message for it, until it is enabled."""
    _change(at, webhook, enabled=False)


@webhooks.command("enable")
@asks
def enable_webhook(at: Session, webhook: WebhookRef) -> None:
    """Send messages to a disabled webhook again, from now on."""
    _change(at, webhook, enabled=True)


@webhooks.command("test")
@asks
def test_webhook(at: Session, webhook: WebhookRef) -> None:
    """Send a message of type webhook.test now, and print what the receiver said; a failure is exit code 1."""
    result = at.graftwork.webhooks.test(webhook_of(at, webhook)["id"])
    at.show(result, "id", "delivered", "status", "error", "seconds")
    if not result["delivered"]:
        raise typer.Exit(REFUSED)


@webhooks.command("deliveries")
@asks
def list_deliveries(
    at: Session,
    webhook: WebhookRef,
    status: Annotated[str | None, typer.Option(help="Only those that are pending, delivered or dead.")] = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1)] = 50,
) -> None:
    """List the messages of a webhook, newest first, and what became of each."""
    newest_first = at.graftwork.webhooks.deliveries(webhook_of(at, webhook)["id"], status=status)
    _table(at, islice(newest_first, limit))


@webhooks.command("redeliver")
@asks
def redeliver(
    at: Session,
    webhook: WebhookRef,
    deliveries: Annotated[
        list[str], typer.Argument(metavar="DELIVERY...", help="Ids, as `graftwork webhooks deliveries` shows them.")
    ],
) -> None:
    """Deliver messages again, each under its id."""
    webhook_id = webhook_of(at, webhook)["id"]
    _table(at, [at.graftwork.webhooks.redeliver(webhook_id, delivery) for delivery in deliveries])


@webhooks.command("rotate")
@asks
def rotate_secret(
    at: Session,
    webhook: WebhookRef,
    overlap: Annotated[
        float, typer.Option(help="Seconds for which earlier secrets sign, too; 0: they never sign again.", min=0)
    ] = 86_400,
) -> None:
    """Give a webhook a new secret and print it, quietly it alone. It cannot be shown again."""
    _show_new(at, at.graftwork.webhooks.rotate(webhook_of(at, webhook)["id"], overlap=overlap))


@webhooks.command("delete")
@asks
def delete_webhook(at: Session, webhook: WebhookRef) -> None:
    """Delete a webhook and its deliveries."""
    deleted = webhook_of(at, webhook)
    at.graftwork.webhooks.delete(deleted["id"])
    at.tell(f"deleted  {deleted['id']}  {deleted['url']}", deleted["id"], id=deleted["id"], deleted=True)


def _change(at: Session, webhook: str, **fields: Any) -> None:
    at.show(at.graftwork.webhooks.change(webhook_of(at, webhook)["id"], **fields), *SHOWN)


def _table(at: Session, deliveries: Any) -> None:
    fields = ("id", "type", "status", "attempts", "last_status", "last_error", "next_attempt_at", "created_at")
    at.table(deliveries, **{field.removesuffix("_at"): field for field in fields})


def _show_new(at: Session, webhook: Any) -> None:
    """Print a webhook; its new secret in every form, since it is answered this once."""
    if at.quiet and not at.as_json:
        print(webhook["secret"])
    else:
        at.show(webhook, *SHOWN)
