"""The command on instant heads: heads that are fitted while the request waits."""

from typing import Annotated

import typer

from graftwork.command.references import DatasetRef, ModelRef, Settings, dataset_of, fields_of
from graftwork.command.session import Session, asks

heads = typer.Typer(help="Instant heads, fitted without a job: create.", no_args_is_help=True)


@heads.callback()
def _group() -> None:
    """Instant heads, fitted without a job: create."""


@heads.command("create")
@asks
def create_heads(
    at: Session,
    model: ModelRef,
    dataset: DatasetRef,
    name: Annotated[
        str | None, typer.Option(help="Name of the new model; else after the model and the targets.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Target to predict; else the only one. May be repeated.")
    ] = None,
    options: Settings = None,
    *,
    climb: Annotated[
        bool, typer.Option("--climb", help="Queue a fine-tuning that moves the alias where it is proven better.")
    ] = False,
) -> None:
    """Fit heads on a model's backbone with the labels of a dataset, at once: the new model answers from now on."""
    fields = {"target": target or None, **fields_of(options)}
    fields |= {"name": name} if name else {}
    fields |= {"climb": True} if climb else {}
    made = at.graftwork.heads.create(model=model, dataset=dataset_of(at, dataset)["id"], **fields)
    at.show(made, "id", "name", "version", "kind", "parent", "metrics", "aliases", "climb", "warnings")
