"""What the server adds to the `graftwork` command. Each command imports what it needs itself: `--help` is fast."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Commands that report a wrong setting or folder in one line, without a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command that the arguments name."""
        try:
            return super().main(*args, **options)
        except ValueError as error:
            sys.exit(_wrong_setting(error))
        except OSError as error:  # such as a --data that is a file, or that may not be written to
            sys.exit(f"graftwork: {error}")


app = typer.Typer(
    cls=Commands,
    help="Run Graftwork on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
server = typer.Typer(help="What asks no service, but works on its database: keys, storage.", no_args_is_help=True)
keys = typer.Typer(help="API keys, without one.", no_args_is_help=True)
app.add_typer(server, name="server")
server.add_typer(keys, name="keys")

Host = Annotated[str | None, typer.Option(help="Address to bind; 127.0.0.1 unless GRAFTWORK_HOST says otherwise.")]
Port = Annotated[int | None, typer.Option(help="Port to bind; 0: any free one.", min=0, max=65535)]
Project = Annotated[str, typer.Option(help="Project of the key.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, as `graftwork server keys list` shows it.")]
Days = Annotated[float | None, typer.Option(help="Days until the key expires; it does not by default.", min=0.0001)]
Data = Annotated[Path | None, typer.Option(help="Folder for database, artifacts and caches.")]


def _environment(**values: str | int | Path | None) -> None:
    """Set options as environment variables: settings are read from there, in child processes too.

    What the process and its children write is for their user alone.
    """
    os.umask(0o077)
    for name, value in values.items():
        if value is not None:
            os.environ[f"GRAFTWORK_{name.upper()}"] = str(value)


@app.command()
def up(host: Host = None, port: Port = None, data: Data = None) -> None:
    """Run everything: API, worker and, unless GRAFTWORK_BROKER_URL names one, a broker."""
    _environment(host=host, port=port, data=data)
    from app.cli.up import run  # noqa: PLC0415 - keeps --help fast

    sys.exit(run())


@app.command()
def api(host: Host = None, port: Port = None, data: Data = None) -> None:
    """Run the HTTP API."""
    _environment(host=host, port=port, data=data)
    from app.kit.process import permanent  # noqa: PLC0415 - keeps --help fast

    with permanent():
        from app.cli.api import run  # noqa: PLC0415 - the same
    run()


@app.command()
def worker(data: Data = None) -> None:
    """Run a worker; it works on one job at a time, and on a short one next to it."""
    _environment(data=data)
    from app.settings import Settings  # noqa: PLC0415 - keeps --help fast

    if not Settings().broker:
        sys.exit("graftwork worker: set GRAFTWORK_BROKER_URL (redis://...); `graftwork up` brings a broker of its own.")
    options = "--pool prefork --concurrency 1 --disable-prefetch --without-gossip --without-mingle"
    options += " --without-heartbeat --loglevel WARNING"  # a heartbeat would wait for a dead broker forever
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "worker.celery_app", "worker", *options.split()]
    os.execv(sys.executable, command)  # noqa: S606 - the worker replaces this process


@app.command()
def migrate(data: Data = None) -> None:
    """Migrate the database to this release, and create the key GRAFTWORK_BOOTSTRAP_KEY if it is set."""
    _environment(data=data)
    from app.cli.prepare import prepare  # noqa: PLC0415 - keeps --help fast
    from app.settings import Settings  # noqa: PLC0415 - the same

    prepare(Settings(), invent_key=False)


@app.command()
def backup(target: Annotated[Path, typer.Argument(help="New folder for the copy.")], data: Data = None) -> None:
    """Copy the embedded database and artifacts while the service runs. The copy is a data folder."""
    _environment(data=data)
    from app.cli.backup import backup as copy  # noqa: PLC0415 - keeps --help fast
    from app.settings import Settings  # noqa: PLC0415 - the same

    copy(Settings(), target)


@server.command()
def storage(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: Data = None,
) -> None:
    """Print the disk space that the files of the service take."""
    _environment(data=data)
    from app.cli.storage import show  # noqa: PLC0415 - keeps --help fast

    show(as_json=as_json)


@app.command()
def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print for every file whether it would be removed, and why.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data: Data = None,
) -> None:
    """Remove unreferenced files: move them to the trash, and delete them after GRAFTWORK_GC_GRACE_SECONDS."""
    _environment(data=data)
    from app.cli.storage import collect  # noqa: PLC0415 - keeps --help fast

    collect(dry_run=dry_run, as_json=as_json)


@app.command()
def weights(
    project: Annotated[str, typer.Option(help="Project of the models.")] = "default", data: Data = None
) -> None:
    """Bring published weights that are on this machine into a project, each once."""
    _environment(data=data)
    from app.cli.weights import run  # noqa: PLC0415 - keeps --help fast

    run(project)


@keys.command("create")
def create_key(
    project: Annotated[str, typer.Option(help="Project of the key; created if it does not exist.")] = "default",
    name: Annotated[str, typer.Option(help="Name of the key.")] = "key",
    scope: Annotated[list[str] | None, typer.Option(help="read, write, predict or admin; may be repeated.")] = None,
    days: Days = None,
    data: Data = None,
) -> None:
    """Create an API key and print it. It cannot be shown again."""
    _environment(data=data)
    from app.cli.keys import create  # noqa: PLC0415 - keeps --help fast

    print(create(project, name, scope or ["read", "write", "predict"], days))


@keys.command("list")
def list_keys(project: Project = "default", data: Data = None) -> None:
    """Print the keys of a project, newest first, with their ids; secrets are stored nowhere."""
    _environment(data=data)
    from app.cli.keys import list_all  # noqa: PLC0415 - keeps --help fast

    print(list_all(project))


@keys.command("revoke")
def revoke_key(key_id: KeyId, project: Project = "default", data: Data = None) -> None:
    """Revoke a key: within 5 seconds it opens nothing any more."""
    _environment(data=data)
    from app.cli.keys import revoke  # noqa: PLC0415 - keeps --help fast

    revoke(project, key_id)


@keys.command("rotate")
def rotate_key(
    key_id: KeyId,
    project: Project = "default",
    overlap: Annotated[float, typer.Option(help="Seconds for which the old key stays valid.", min=0)] = 3600,
    days: Days = None,
    data: Data = None,
) -> None:
    """Replace a key by one of the same name and scopes, and print it. It cannot be shown again."""
    _environment(data=data)
    from app.cli.keys import rotate  # noqa: PLC0415 - keeps --help fast

    print(rotate(project, key_id, overlap, days))


def main() -> None:
    """Run one of these commands."""
    app(prog_name="graftwork")


def _wrong_setting(error: ValueError) -> str:
    """Return a message that names the setting but not its value, which may be a key. Other errors are raised again."""
    from pydantic import ValidationError  # noqa: PLC0415 - keeps --help fast

    if not isinstance(error, ValidationError) or error.title != "Settings":
        raise error
    first = error.errors(include_input=False)[0]
    return f"graftwork: GRAFTWORK_{str(first['loc'][0]).upper()}: {first['msg']}"


if __name__ == "__main__":
    main()
