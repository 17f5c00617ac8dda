"""Arguments that several commands take: datasets and jobs by name or id, and fields of a request."""

import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from graftwork.command import login
from graftwork.command.session import Session, client, newest
from graftwork.errors import GraftworkError

MAX_COMPLETED = 100


def _names_of(kind: str) -> Callable[[str], list[str]]:
    """Return a function that completes the names of the newest entries of a resource of the login's service."""
    return _completing(lambda graftwork: (entry["name"] for entry in getattr(graftwork, kind).list()))


def _completing(listed: Callable[[Any], Iterable[str | None]]) -> Callable[[str], list[str]]:
    """Return a function that completes the first names of those that a client lists."""

    def complete(incomplete: str) -> list[str]:
        try:
            with client(*login.known(None)) as graftwork:
                names = {*islice(listed(graftwork), MAX_COMPLETED)}
        except GraftworkError:
            return []
        return sorted(name for name in names if name and name.isprintable() and name.startswith(incomplete))

    return complete


DatasetRef = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="Name or id; a name means its newest dataset.", autocompletion=_names_of("datasets")
    ),
]
JobRef = Annotated[
    str, typer.Argument(metavar="JOB", help="Id, or a name: its newest job.", autocompletion=_names_of("jobs"))
]
ModelRef = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Name, name@version, name@alias or id.", autocompletion=_names_of("models")),
]
WebhookRef = Annotated[
    str, typer.Argument(metavar="WEBHOOK", help="Name, URL or id.", autocompletion=_names_of("webhooks"))
]
SourceRef = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Name of published weights, as `graftwork models published` shows it.",
        autocompletion=_completing(lambda graftwork: (entry["source"] for entry in graftwork.catalogue()["weights"])),
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A field of the request, dotted, and its value: --set training.epochs=3.", metavar="FIELD=VALUE"
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once, and leave the job running.")]

RequestFile = Annotated[
    str, typer.Argument(metavar="REQUEST", help="A .toml or .json file with a job's request, or - for standard input.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the request, and submit nothing.")]


def dataset_of(at: Session, ref: str) -> Any:
    """Return a dataset by its id, or the newest one of a name."""
    if not ref.startswith("ds_"):
        ref = newest(at.graftwork.datasets.list(name=ref), "dataset", ref)["id"]
    return at.graftwork.datasets.get(ref)


def job_of(at: Session, ref: str) -> Any:
    """Return a job by its id, or the newest one of a name."""
    if not ref.startswith("job_"):
        ref = newest(at.graftwork.jobs.list(name=ref), "job", ref)["id"]
    return at.graftwork.jobs.get(ref)


def webhook_of(at: Session, ref: str) -> Any:
    """Return a webhook by its id, or the newest one of a name or a URL."""
    if ref.startswith("wh_"):
        return at.graftwork.webhooks.get(ref)
    known = (webhook for webhook in at.graftwork.webhooks.list() if ref in (webhook["name"], webhook["url"]))
    return newest(known, "webhook", ref)


def request_of(file: str) -> dict[str, Any]:
    """Return the request that a .toml or .json file holds; - is JSON from standard input.

    Raises:
        ValueError: it holds none.
    """
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        text = content.decode("utf-8-sig")
        request = tomllib.loads(text) if file.endswith(".toml") else json.loads(text)
    except ValueError as error:
        form = "TOML" if file.endswith(".toml") else "JSON"
        msg = f"{'standard input' if file == '-' else file} is no {form}: {error}"
        raise ValueError(msg) from None
    if not isinstance(request, dict):
        msg = f"{file}: a request is an object of fields, such as kind and dataset"
        raise TypeError(msg)
    return request


def fields_of(settings: Sequence[str] | None) -> dict[str, Any]:
    """Return the fields that --set names; a value is JSON, or else text."""
    fields: dict[str, Any] = {}
    for setting in settings or ():
        path, equals, text = setting.partition("=")
        if not equals or not all(path.split(".")):
            msg = f"--set {setting}: write FIELD=VALUE, such as training.epochs=3"
            raise ValueError(msg)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        *outer, last = path.split(".")
        inside = fields
        for name in outer:
            inside = inside.setdefault(name, {})
            if not isinstance(inside, dict):
                msg = f"--set {setting}: {name} was set to a value before"
                raise TypeError(msg)
        inside[last] = value
    return fields
