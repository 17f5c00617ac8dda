"""The commands that ask a service."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from graftwork.command import login as logins
from graftwork.command.data import data
from graftwork.command.heads import heads
from graftwork.command.jobs import jobs, training
from graftwork.command.keys import keys
from graftwork.command.models import asking, models
from graftwork.command.session import Session, asks, client, tells
from graftwork.command.webhooks import webhooks
from graftwork.command.weights import weights

app = typer.Typer(
    name="graftwork",
    help="Pretrain one backbone, fine-tune many heads, predict, all over HTTP.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong use, 3 the service cannot be reached, 130 interrupted.",
)


@app.command()
@tells
def init(
    at: Session,
    folder: Annotated[Path, typer.Argument(help="New folder, or an empty one.")] = Path("graftwork-example"),
) -> None:
    """Write an example project: data, a request, a script, and a README that says what to do with them."""
    from graftwork.command.example import write_example  # noqa: PLC0415 - for this alone

    files = write_example(folder)
    at.tell(f"{folder}: {', '.join(files)}. Begin with {folder / 'README.md'}.", str(folder), files=files)


@app.command()
@tells
def login(
    at: Session,
    url: Annotated[str, typer.Argument(help="URL of the service, such as http://127.0.0.1:8000.")],
    key: Annotated[
        str | None, typer.Option(envvar="GRAFTWORK_KEY", help="API key; without it and --key-file it is asked for.")
    ] = None,
    key_file: Annotated[str | None, typer.Option(help="File that holds the key, or - for standard input.")] = None,
) -> None:
    """Keep the URL and an API key for the commands that follow, once the service has accepted them."""
    if key_file:
        key = sys.stdin.read() if key_file == "-" else Path(key_file).read_text(encoding="utf-8")
    key = (key or typer.prompt("API key", hide_input=True, err=True)).strip()
    with client(url, key) as graftwork:
        graftwork.storage(service=False)
    file = logins.keep(url, key)
    at.tell(f"Kept in {file}.", url=url, file=str(file))


@app.command()
@tells
def version(at: Session) -> None:
    """Print the version of this command."""
    from importlib.metadata import version as version_of  # noqa: PLC0415 - for this alone

    number = version_of("graftwork")
    at.tell(number, number, version=number)


@app.command()
@asks
def status(at: Session) -> None:
    """Print whether the service is ready, which parts it lacks, and the jobs that are not at their end."""
    at.show(at.graftwork.ready(), "status", "parts")
    if not at.quiet:
        for state in ("running", "queued", "paused"):
            count = sum(1 for _ in at.graftwork.jobs.list(status=state))
            print(f"{state.ljust(6)}  {count}", file=sys.stderr)


@app.command()
@asks
def storage(at: Session) -> None:
    """Print what the files of the project take, and its quota; to administrators, those of the whole service, too."""
    storage = at.graftwork.storage()
    amounts = dict(storage["project"])
    for name, amount in (storage["service"] or {}).items():
        amounts |= {f"all {inner}": number for inner, number in amount.items()} if name == "named" else {name: amount}
    quota = {name: value for name, value in storage["quota"].items() if value is not None}
    if at.as_json or at.quiet:
        at.tell("", str(sum(amount["bytes"] for amount in storage["project"].values())), **storage)
        return
    entries = [
        {"files": name.replace("_", " "), **(amount if isinstance(amount, dict) else {"bytes": amount})}
        for name, amount in [*amounts.items(), *((f"quota {name}", value) for name, value in quota.items())]
    ]
    at.table(entries, files="files", count="count", bytes="bytes")


app.add_typer(training)
app.add_typer(asking)
app.add_typer(data, name="data")
app.add_typer(jobs, name="jobs")
models.add_typer(weights)
app.add_typer(models, name="models")
app.add_typer(heads, name="heads")
app.add_typer(keys, name="keys")
app.add_typer(webhooks, name="webhooks")
