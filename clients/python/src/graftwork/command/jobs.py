"""The commands on jobs, and those that submit one."""

import json
import os
import re
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from graftwork.command.references import (
    DatasetRef,
    Detach,
    DryRun,
    JobRef,
    ModelRef,
    RequestFile,
    Settings,
    dataset_of,
    fields_of,
    job_of,
    request_of,
)
from graftwork.command.session import Session, asks

training = typer.Typer()
jobs = typer.Typer(
    help="Jobs: create, estimate, list, show, watch, cancel, pause, resume, retry, extend, files, download, "
    "tensorboard, mlflow, delete.",
    no_args_is_help=True,
)

NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
RANGE = re.compile(rf"(?P<low>{NUMBER})\.\.(?P<high>{NUMBER})(?P<log>:log)?")
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
    dry_run: DryRun = False,
) -> None:
    """Pretrain a backbone on a dataset, and show how far it is."""
    fields: dict[str, Any] = {"kind": "pretraining", "dataset": dataset_of(at, dataset)["id"], **fields_of(options)}
    fields |= {"name": name} if name else {}
    fields |= {"method": {"kind": method}} if method else {}
    _run(at, fields, detach=detach, dry_run=dry_run)


@training.command()
@asks
def finetune(  # noqa: PLR0913 - the options of a command
    at: Session,
    dataset: DatasetRef,
    name: Annotated[str | None, typer.Option(help="Name of the new model.")] = None,
    model: Annotated[str | None, typer.Option(help="Pretrained model to begin with; else from scratch.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Target to predict; else all. May be repeated.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Kind of the strategy; else it is chosen.")] = None,
    options: Settings = None,
    *,
    detach: Detach = False,
    dry_run: DryRun = False,
) -> None:
    """Fine-tune heads on the labels of a dataset: a classifier for a category, a regressor for a number."""
    labelled = dataset_of(at, dataset)
    fields: dict[str, Any] = {"kind": "fine_tuning", "dataset": labelled["id"], **fields_of(options)}
    fields.setdefault("heads", _heads(labelled, target))
    fields |= {field: value for field, value in (("name", name), ("model", model)) if value}
    fields |= {"strategy": {"kind": strategy}} if strategy else {}
    _run(at, fields, detach=detach, dry_run=dry_run)


@training.command()
@asks
def sweep(
    at: Session,
    request: RequestFile,
    search: Annotated[
        list[str],
        typer.Option(
            metavar="FIELD=VALUES",
            help="A field to search, and a JSON list of values, or LOW..HIGH, or LOW..HIGH:log. May be repeated.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the best model; else that of the request.")] = None,
    trials: Annotated[int | None, typer.Option(help="How many jobs are tried; else 20.", min=1)] = None,
    options: Settings = None,
    *,
    detach: Detach = False,
    dry_run: DryRun = False,
) -> None:
    """Try many values for some fields of a training, and keep the best model."""
    space = dict(map(searched, search))
    fields: dict[str, Any] = {"kind": "sweep", "base": request_of(request), "space": space, **fields_of(options)}
    fields |= {field: value for field, value in (("name", name), ("trials", trials)) if value}
    _run(at, fields, detach=detach, dry_run=dry_run)


@training.command()
@asks
def evaluate(
    at: Session,
    model: ModelRef,
    dataset: DatasetRef,
    baseline: Annotated[str | None, typer.Option(help="A model to compare with, on the same rows.")] = None,
) -> None:
    """Measure a model on a dataset; with --baseline, compare both."""
    dataset_id = dataset_of(at, dataset)["id"]
    job = at.graftwork.jobs.evaluate(model, dataset_id, baseline=baseline, progress=at.progress)
    at.show(job, "id", "status", "metrics")


@jobs.command("create")
@asks
def create_job(at: Session, request: RequestFile, *, detach: Detach = False) -> None:
    """Submit a job of any kind by its request, and show how far it is."""
    _run(at, request_of(request), detach=detach)


@jobs.command("estimate")
@asks
def estimate_job(at: Session, request: RequestFile) -> None:
    """Estimate the time and the memory that a training would take, on some of its own steps."""
    at.show(at.graftwork.jobs.estimate(**request_of(request), progress=at.progress), "id", "status", "metrics")


@jobs.command("list")
@asks
def list_jobs(
    at: Session,
    status: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1)] = 50,
    project: Annotated[
        str | None, typer.Option(help="Id or name of another project; for a key with the scope admin.")
    ] = None,
    *,
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="Jobs of all projects; for a key with the scope admin.")
    ] = False,
) -> None:
    """List the jobs, newest first; of other projects whose each is and how it stands, not what it is about."""
    if project is not None or all_projects:
        if project is not None and all_projects:
            msg = "--project names one project and --all-projects means all: give one of them"
            raise ValueError(msg)
        fields = ("id", "project", "kind", "status", "queue_position", "worker")
        columns = {field: field for field in fields}
        newest_first = at.graftwork.admin.jobs(status=status, kind=kind, project=project)
        at.table(islice(newest_first, limit), **columns, created="created_at")
        return
    newest_first = at.graftwork.jobs.list(status=status, kind=kind)
    at.table(
        islice(newest_first, limit),
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
    watched = job_of(at, job)
    for event in watched.follow():
        at.tell(f"{event['created_at']}  {event['type']}  {event['message']}", **event)
        sys.stdout.flush()
    watched.wait()


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


@jobs.command("extend")
@asks
def extend_job(
    at: Session,
    job: JobRef,
    epochs: Annotated[int | None, typer.Option(help="Further passes.", min=1)] = None,
    steps: Annotated[int | None, typer.Option(help="Further steps, where it is counted in steps.", min=1)] = None,
    *,
    detach: Detach = False,
) -> None:
    """Continue the training of a succeeded job in a new one."""
    more = {field: value for field, value in (("epochs", epochs), ("steps", steps)) if value}
    _wait_for(at, job_of(at, job).extend(**more), detach=detach)


@jobs.command("files")
@asks
def list_files(at: Session, job: JobRef) -> None:
    """List the files of a job, such as the results of a batch prediction."""
    at.table(job_of(at, job).files(), key="name", name="name", bytes="bytes", sha256="sha256")


@jobs.command("download")
@asks
def download_file(
    at: Session,
    job: JobRef,
    name: Annotated[str, typer.Argument(help="Name of the file, as `graftwork jobs files` shows it.")],
    out: Annotated[Path | None, typer.Option(help="File to write; else of the same name.")] = None,
) -> None:
    """Write a file of a job; where the connection breaks, it goes on after the bytes that have come."""
    file = job_of(at, job).download(name, out or Path(name).name)
    at.tell(str(file), str(file), file=str(file))


@jobs.command("tensorboard")
@asks
def write_event_file(
    at: Session,
    job: JobRef,
    out: Annotated[
        Path | None, typer.Option(help="File to write, with `tfevents` in its name, or a folder; else in this folder.")
    ] = None,
) -> None:
    """Write what a job has measured until now as an event file, which TensorBoard reads."""
    job_id = job_of(at, job)["id"]
    name = f"events.out.tfevents.{job_id}"
    file = out / name if out and out.is_dir() else out or Path(name)
    if "tfevents" not in file.name:
        msg = f"--out {out}: TensorBoard reads files with `tfevents` in their names, such as {name}"
        raise ValueError(msg)
    file.write_bytes(at.graftwork.jobs.event_file(job_id))
    at.tell(str(file), str(file), file=str(file))


@jobs.command("mlflow")
@asks
def write_to_mlflow(
    at: Session,
    job: JobRef,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="URL of the tracking server; else that of the service's settings.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Name of the experiment; else that of the settings.")] = None,
) -> None:
    """Write a job that has ended to an MLflow tracking server, as a run; a repetition completes the same run.

    A server that --server names gets what MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD say, or else
    MLFLOW_TRACKING_TOKEN.
    """
    fields = {"url": server, "experiment": experiment, **(mlflow_credentials() if server else {})}
    given = {name: value for name, value in fields.items() if value is not None}
    run = at.graftwork.jobs.write_to_mlflow(job_of(at, job)["id"], **given)
    at.show(run, "url", "experiment", "run", "created", "metrics", "parameters", "warnings", key="run")


@jobs.command("delete")
@asks
def delete_job(at: Session, job: JobRef) -> None:
    """Delete a job that has ended, with its events and checkpoints; the models that it made stay."""
    deleted = job_of(at, job)
    deleted.delete()
    at.tell(f"deleted  {deleted['id']}", deleted["id"], id=deleted["id"], deleted=True)


def mlflow_credentials() -> dict[str, str | None]:
    """Return the credentials of MLflow's own variables, as its client chooses among them: a token comes last."""
    username, password, token = (
        os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD", "TOKEN")
    )
    return {"username": username, "password": password} if username and password else {"token": token or None}


def searched(setting: str) -> tuple[str, dict[str, Any]]:
    """Return a searched field and where its values come from: a list, LOW..HIGH or LOW..HIGH:log.

    Raises:
        ValueError: it is written otherwise.
    """
    field, _, text = setting.partition("=")
    ends = RANGE.fullmatch(text)
    if field and ends:
        low, high = (json.loads(end) for end in ends.group("low", "high"))
        if isinstance(low, int) and isinstance(high, int):
            return field, {"kind": "integer", "low": low, "high": high, "log": bool(ends["log"])}
        return field, {"kind": "log_uniform" if ends["log"] else "uniform", "low": low, "high": high}
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not field or not isinstance(values, list | dict):
        example = 'training.epochs=[5, 10], training.optimizer.lr=1e-4..1e-1:log or strategy.kind=["full", "lora"]'
        msg = f"--search {setting}: write FIELD=VALUES, such as {example}"
        raise ValueError(msg)
    return field, values if isinstance(values, dict) else {"kind": "choice", "values": values}


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


def _run(at: Session, fields: dict[str, Any], *, detach: bool, dry_run: bool = False) -> None:
    """Submit a job, or print its request."""
    if dry_run:
        print(json.dumps(fields, indent=2, ensure_ascii=False))
        return
    _wait_for(at, at.graftwork.jobs.create(**fields), detach=detach)


def _wait_for(at: Session, job: Any, *, detach: bool) -> None:
    """Show how far a job is until it has ended; who interrupts that leaves it running."""
    try:
        if not detach:
            job = job.wait(progress=at.progress)
    except KeyboardInterrupt:
        commands = f"`graftwork jobs watch {job['id']}` shows it, `graftwork jobs cancel {job['id']}` ends it"
        print(f"\n{job['id']} goes on: {commands}", file=sys.stderr)
        raise
    at.show(job, "id", "kind", "name", "status", "outputs")
