"""The commands on jobs, and those that submit one."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any

import typer

from graftwork.command.references import (
    DatasetRef,
    Detach,
    JobRef,
    ModelRef,
    Settings,
    dataset_of,
    fields_of,
    job_of,
)
from graftwork.command.session import Session, asks

training = typer.Typer()
jobs = typer.Typer(help="Jobs: list, show, watch, cancel, pause, resume, retry.", no_args_is_help=True)

HEADS = {"category": "classifier", "number": "regressor"}  # by the type of a target


@training.command()
@asks
def pretrain(
    at: Session,
    dataset: DatasetRef,
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    method: Annotated[str | None, typer.Option(help="Kind of the method; else it is chosen.")] = None,
    options: Settings = None,
    *,
    detach: Detach = False,
) -> None:
    """Pretrain a backbone on a dataset, and show how far it is."""
    fields: dict[str, Any] = {"kind": "pretraining", "dataset": dataset_of(at, dataset)["id"], **fields_of(options)}
    fields |= {"name": name} if name else {}
    fields |= {"method": {"kind": method}} if method else {}
    _run(at, fields, detach=detach)


@training.command()
@asks
def finetune(
    at: Session,
    dataset: DatasetRef,
    name: Annotated[str | None, typer.Option(help="Name of the new model.")] = None,
    model: Annotated[str | None, typer.Option(help="Pretrained model to begin with; else from scratch.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Target to predict; else all. May be repeated.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Kind of the strategy; else it is chosen.")] = None,
    options: Settings = None,
    *,
    detach: Detach = False,
) -> None:
    """Fine-tune heads on the labels of a dataset: a classifier for a category, a regressor for a number."""
    found = dataset_of(at, dataset)
    fields: dict[str, Any] = {"kind": "fine_tuning", "dataset": found["id"], **fields_of(options)}
    fields.setdefault("heads", _heads(found, target))
    fields |= {field: value for field, value in (("name", name), ("model", model)) if value}
    fields |= {"strategy": {"kind": strategy}} if strategy else {}
    _run(at, fields, detach=detach)


@training.command()
@asks
def evaluate(at: Session, model: ModelRef, dataset: DatasetRef, baseline: str | None = None) -> None:
    """Measure a model on a dataset; with --baseline, compare both."""
    found = dataset_of(at, dataset)["id"]
    job = at.graftwork.jobs.evaluate(model, found, baseline=baseline, progress=not at.quiet)
    at.show(job, "id", "status", "metrics")


@jobs.command("list")
@asks
def list_jobs(
    at: Session,
    status: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1)] = 50,
) -> None:
    """List the jobs, newest first."""
    found = at.graftwork.jobs.list(status=status, kind=kind)
    at.table(
        islice(found, limit),
        id="id",
        kind="kind",
        name="name",
        status="status",
        progress=lambda job: f"{job['progress']['fraction']:.0%}" if job["progress"] else None,
        created="created_at",
    )


@jobs.command("show")
@asks
def show_job(at: Session, job: JobRef) -> None:
    """Print a job."""
    fields = ("id", "kind", "name", "status", "phase", "progress", "outputs", "metrics", "warnings", "error")
    at.show(job_of(at, job), *fields)


@jobs.command("watch")
@asks
def watch_job(at: Session, job: JobRef) -> None:
    """Print the events of a job as they happen, until it has ended."""
    found = job_of(at, job)
    for event in found.follow():
        print(f"{event['created_at']}  {event['type']}  {event['message']}", flush=True)
    found.wait()


@jobs.command("cancel")
@asks
def cancel_job(at: Session, job: JobRef) -> None:
    """Cancel a job."""
    at.show(job_of(at, job).cancel(), "id", "status")


@jobs.command("pause")
@asks
def pause_job(at: Session, job: JobRef) -> None:
    """Pause a job."""
    at.show(job_of(at, job).pause(), "id", "status")


@jobs.command("resume")
@asks
def resume_job(at: Session, job: JobRef) -> None:
    """Queue a paused job again."""
    at.show(job_of(at, job).resume(), "id", "status")


@jobs.command("retry")
@asks
def retry_job(at: Session, job: JobRef) -> None:
    """Queue a failed or cancelled job again."""
    at.show(job_of(at, job).retry(), "id", "status")


def _heads(dataset: Any, names: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return a head for each target, as its type asks for."""
    targets = {target["name"]: target["type"] for target in dataset["targets"] or ()}
    chosen = names or [*targets]
    for name in chosen:
        if targets.get(name) not in HEADS:
            known = ", ".join(targets) or "none"
            msg = f"{name!r} is no target (the dataset's: {known}); name the heads by --set heads=[...]"
            raise ValueError(msg)
    if not chosen:
        msg = "the dataset has no target: upload it with --target COLUMN, or name the heads by --set heads=[...]"
        raise ValueError(msg)
    return [{"kind": HEADS[targets[name]], "target": name} for name in chosen]


def _run(at: Session, fields: dict[str, Any], *, detach: bool) -> None:
    job = at.graftwork.jobs.create(**fields)
    if not detach:
        job = job.wait(progress=not at.quiet)
    at.show(job, "id", "kind", "name", "status", "outputs")
