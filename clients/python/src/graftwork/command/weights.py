"""The commands that make models of weights that others have trained."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from graftwork.command.references import Settings, SourceRef, fields_of
from graftwork.command.session import Session, asks

weights = typer.Typer()

PARTS = {"vocab.txt": "vocab", "config.json": "config", "preprocessor_config.json": "preprocessor"}
"""Files that are published beside weights, and the fields of the request that they are sent as."""

WEIGHTS = "model.safetensors"
SHOWN = ("id", "name", "version", "kind", "modality", "published", "decisions", "warnings")


@weights.command("import")
@asks
def import_model(
    at: Session,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Weights (.safetensors, or a zip or wheel with them), with vocab.txt, config.json and "
            "preprocessor_config.json where they are published beside; or a folder with such files.",
        ),
    ],
    architecture: Annotated[str, typer.Option(help="Such as bert, vit or efficientnet_lite0; graftwork: an export.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    options: Settings = None,
) -> None:
    """Make a model of pretrained weights; other options of the architecture by --set, such as image_size=160."""
    source, parts = sorted_files(files)
    fields = {**parts, **fields_of(options)}
    at.show(at.graftwork.models.create(source, name=name, architecture=architecture, **fields), *SHOWN)


@weights.command("published")
@asks
def list_published(at: Session) -> None:
    """List the published weights, and what brings those that are not there to the service's machine."""
    columns = {field: field for field in ("source", "title", "modality", "licence", "bytes", "available", "remedy")}
    at.table(at.graftwork.catalogue().weights, key="source", **columns)


@weights.command("bring")
@asks
def bring_in(
    at: Session,
    source: SourceRef,
    name: Annotated[str | None, typer.Option(help="Name of the model; else that of the source.")] = None,
) -> None:
    """Make a model of published weights that are on the service's machine; where there is one, print it."""
    at.show(at.graftwork.models.bring_in(source, name=name), *SHOWN)


def sorted_files(paths: Sequence[Path]) -> tuple[Path, dict[str, Any]]:
    """Return the file of weights, and what stands in the files beside it, by the fields of the request.

    Raises:
        ValueError: there is not exactly one file of weights, or a file is not what its name says.
    """
    files: list[Path] = []
    for path in paths:
        inside = [path / name for name in (WEIGHTS, *PARTS)] if path.is_dir() else [path]
        files += [file for file in inside if file.is_file() or file == path]
    sources = [file for file in files if file.name not in PARTS]
    if len(sources) != 1:
        given = ", ".join(map(str, sources)) or "none"
        msg = f"one file of weights is imported at a time (here: {given}); of a folder it is {WEIGHTS}"
        raise ValueError(msg)
    return sources[0], {PARTS[file.name]: _content(file) for file in files if file.name in PARTS}


def _content(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".json":
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        msg = f"{file} is no JSON: {error}"
        raise ValueError(msg) from None
