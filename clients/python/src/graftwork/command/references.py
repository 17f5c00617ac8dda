"""Arguments that several commands take: datasets and jobs by name or id, and fields of a request."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from graftwork.command.session import Session, newest

DatasetRef = Annotated[str, typer.Argument(metavar="DATASET", help="Name or id; a name means its newest dataset.")]
JobRef = Annotated[str, typer.Argument(metavar="JOB", help="Id, or a name: its newest job.")]
ModelRef = Annotated[str, typer.Argument(metavar="MODEL", help="Name, name@version, name@alias or id.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A field of the request, dotted, and its value: --set training.epochs=3.", metavar="FIELD=VALUE"
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once, and leave the job running.")]


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
