"""The commands on datasets."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from graftwork.command.references import DatasetRef, Detach, Settings, dataset_of, fields_of
from graftwork.command.session import Session, asks
from graftwork.uploads import Source, is_in_place

data = typer.Typer(help="Datasets: add, list, show, rows, warnings, versions, prepare, delete.", no_args_is_help=True)

SHOWN = ("id", "name", "status", "modality", "rows", "targets")


@data.command("add")
@asks
def add_data(
    at: Session,
    file: Annotated[
        str,
        typer.Argument(
            help="CSV, JSON Lines, Parquet, NumPy, text, a zip; - for standard input; s3:// or file:// in place."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the dataset; else that of the file.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Column to predict; may be repeated.")] = None,
    options: Settings = None,
    *,
    detach: Detach = False,
) -> None:
    """Upload a dataset, and print what was found in it."""
    fields = fields_of(options)
    if target:
        fields["columns"] = {**fields.get("columns", {}), **dict.fromkeys(target, "target")}
    source = _source_of(file)
    name = name or ("stdin" if file == "-" else Path(file).stem)
    dataset = at.graftwork.datasets.create(source, name=name, wait=not detach, progress=at.progress, **fields)
    at.show(dataset, *SHOWN)


@data.command("list")
@asks
def list_data(at: Session) -> None:
    """List the datasets, newest first."""
    _table(at, at.graftwork.datasets.list())


@data.command("versions")
@asks
def list_versions(at: Session, dataset: DatasetRef) -> None:
    """List the datasets of one name, newest first: the newest ready one is what the name means."""
    _table(at, at.graftwork.datasets.list(name=dataset_of(at, dataset)["name"]))


@data.command("prepare")
@asks
def prepare_data(
    at: Session,
    dataset: DatasetRef,
    file: Annotated[
        str | None, typer.Argument(help="A file, as of `add`, with all rows of the new dataset; else the one before.")
    ] = None,
    options: Settings = None,
    *,
    detach: Detach = False,
) -> None:
    """Prepare the file again by other options, or a file with further rows, as a new dataset of the same name."""
    earlier, fields = dataset_of(at, dataset), fields_of(options)
    source = None if file is None else _source_of(file)
    made = at.graftwork.datasets.version(
        earlier["id"], source, name=earlier["name"], wait=not detach, progress=at.progress, **fields
    )
    at.show(made, *SHOWN)


@data.command("show")
@asks
def show_data(at: Session, dataset: DatasetRef) -> None:
    """Print a dataset."""
    fields = ("id", "name", "status", "modality", "rows", "targets", "columns", "decisions", "warnings", "error")
    at.show(dataset_of(at, dataset), *fields)


@data.command("rows")
@asks
def show_rows(
    at: Session,
    dataset: DatasetRef,
    limit: Annotated[int, typer.Option(help="How many rows.", min=1)] = 20,
    offset: Annotated[int, typer.Option(help="The first row.", min=0)] = 0,
) -> None:
    """Print prepared rows, one JSON object a line."""
    page = at.graftwork.datasets.rows(dataset_of(at, dataset)["id"], limit=limit, offset=offset)
    for row in page["data"]:
        print(json.dumps(row, ensure_ascii=False))


@data.command("warnings")
@asks
def show_warnings(at: Session, dataset: DatasetRef) -> None:
    """Print what was lost or is doubtful in a dataset, and what changes it."""
    from graftwork.answers import WarningItem  # noqa: PLC0415 - keeps --help fast

    warnings = map(WarningItem.from_json, dataset_of(at, dataset)["warnings"])
    at.table(warnings, key="code", code="code", count="count", message="message", remedy="remedy")


@data.command("delete")
@asks
def delete_data(at: Session, dataset: DatasetRef) -> None:
    """Delete a dataset."""
    deleted = dataset_of(at, dataset)
    at.graftwork.datasets.delete(deleted["id"])
    at.tell(f"deleted  {deleted['id']}  {deleted['name']}", deleted["id"], id=deleted["id"], deleted=True)


def _source_of(file: str) -> Source:
    """Return what the client takes for a file, for the standard input, or for files in place."""
    if file == "-":
        return sys.stdin.buffer.read()
    return file if is_in_place(file) else Path(file)


def _table(at: Session, datasets: Iterable[Any]) -> None:
    at.table(
        datasets,
        id="id",
        name="name",
        status="status",
        modality="modality",
        rows=lambda dataset: sum(dataset["rows"].values()) if dataset["rows"] else None,
        warnings=lambda dataset: len(dataset["warnings"]),
        created="created_at",
    )
