"""The commands on API keys, over HTTP; `graftwork server keys` works on the database of a service."""

from typing import Annotated

import typer

from graftwork.command.session import Session, asks

keys = typer.Typer(
    help="API keys: create, list, rotate, revoke. For a key with the scope admin.\n\n"
    "On the service's machine `graftwork server keys` does the same without a key.",
    no_args_is_help=True,
)

Project = Annotated[str | None, typer.Option(help="Id or name of the project; else that of the key that asks.")]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, as `graftwork keys list` shows it.")]
Days = Annotated[float | None, typer.Option(help="Days until the key expires; else it does not.", min=0.0001)]

SECONDS_OF_A_DAY = 86_400
FIELDS = ("id", "name", "scopes", "expires_at", "secret")


@keys.command("create")
@asks
def create_key(
    at: Session,
    name: Annotated[str, typer.Option(help="Whose it is, or what it is for.")] = "key",
    project: Project = None,
    scope: Annotated[list[str] | None, typer.Option(help="read, write, predict or admin; may be repeated.")] = None,
    days: Days = None,
) -> None:
    """Create a key and print it, quietly its secret alone. It cannot be shown again."""
    scopes = scope or ["read", "write", "predict"]
    _show(at, at.graftwork.keys.create(name=name, project=project, scopes=scopes, expires_in=_seconds(days)))


@keys.command("list")
@asks
def list_keys(at: Session, project: Project = None) -> None:
    """List the keys of a project, newest first, without their secrets."""
    at.table(
        at.graftwork.keys.list(project=project),
        id="id",
        name="name",
        scopes=lambda key: ",".join(key["scopes"]),
        created="created_at",
        last_used="last_used_at",
        expires="expires_at",
        revoked="revoked_at",
    )


@keys.command("rotate")
@asks
def rotate_key(
    at: Session,
    key: KeyId,
    project: Project = None,
    overlap: Annotated[float, typer.Option(help="Seconds for which the old key stays valid.", min=0)] = 3600,
    days: Days = None,
) -> None:
    """Replace a key by one of the same name and scopes, and print it. It cannot be shown again."""
    _show(at, at.graftwork.keys.rotate(key, project=project, overlap=overlap, expires_in=_seconds(days)))


@keys.command("revoke")
@asks
def revoke_key(at: Session, key: KeyId, project: Project = None) -> None:
    """Revoke a key: within 5 seconds it opens nothing any more."""
    at.show(at.graftwork.keys.revoke(key, project=project), "id", "name", "revoked_at")


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * SECONDS_OF_A_DAY


def _show(at: Session, key: object) -> None:
    """Print a new key; its secret in every form, since it is answered this once."""
    if at.quiet and not at.as_json:
        print(key["secret"])  # type: ignore[index]
    else:
        at.show(key, *FIELDS)
