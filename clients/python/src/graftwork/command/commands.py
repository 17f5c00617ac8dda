"""The commands that ask a service."""

import sys
from typing import Annotated

import typer

from graftwork.command import login as logins
from graftwork.command.data import data
from graftwork.command.jobs import jobs, training
from graftwork.command.models import asking, models
from graftwork.command.session import Session, asks, reporting

app = typer.Typer(
    name="graftwork",
    help="Pretrain one backbone, fine-tune many heads, predict, all over HTTP.\n\n"
    "On the service's machine, the server adds: up, api, worker, migrate, keys, backup, storage, gc, weights.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong use, 3 the service cannot be reached.",
)
app.add_typer(training)
app.add_typer(asking)
app.add_typer(data, name="data")
app.add_typer(jobs, name="jobs")
app.add_typer(models, name="models")


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="URL of the service, such as http://127.0.0.1:8000.")],
    key: Annotated[
        str, typer.Option(prompt="API key", hide_input=True, envvar="GRAFTWORK_KEY", help="API key; asked for, else.")
    ],
) -> None:
    """Keep the URL and an API key for the commands that follow, once the service has accepted them."""
    from graftwork import Graftwork  # noqa: PLC0415 - keeps --help fast

    with reporting():
        with Graftwork(url, key) as graftwork:
            graftwork.storage()
        print(f"Kept in {logins.keep(url, key)}.")


@app.command()
def version() -> None:
    """Print the version of this command."""
    from importlib.metadata import version as version_of  # noqa: PLC0415 - for this alone

    print(version_of("graftwork"))


@app.command()
@asks
def status(at: Session) -> None:
    """Print whether the service is ready, which parts it lacks, and the jobs that are not at their end."""
    at.show(at.graftwork.ready(), "status", "parts")
    if not at.quiet:
        for state in ("running", "queued", "paused"):
            count = sum(1 for _ in at.graftwork.jobs.list(status=state))
            print(f"{state.ljust(6)}  {count}", file=sys.stderr)
