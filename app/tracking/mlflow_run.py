"""A job as a run of MLflow: found again by a tag, so that a repetition completes it and adds nothing twice.

Curves are sent in order of steps. Each batch carries, as a tag, the step that it ends with: the next one begins there,
in this request or in a repetition. Parameters can never be changed in MLflow: those that it has are left.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.ml.spec import WarningCode, WarningItem
from app.tracking.mlflow_server import TrackingError, TrackingServer
from app.tracking.record import JobRecord, Point

JOB_TAG, STEP_TAG = "graftwork.job", "graftwork.step"
# MLflow's limits (mlflow/utils/validation.py)
MAX_NAME, MAX_PARAMETER, MAX_TAG, MAX_EXPERIMENT, MAX_DATASET_NAME, MAX_DIGEST = 250, 6000, 8000, 500, 500, 36
_MAX_METRICS, _MAX_PARAMETERS = 900, 100  # of a batch, which may hold 1000 of all kinds, tags among them
_MAX_BATCH_BYTES = 800_000  # of 1,000,000
_STATUSES = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
_DIGEST = 8
_BARRED = re.compile(r"[^\w.\- /]")

Entity = Literal["metrics", "params", "tags"]
ReadPoints = Callable[[int], Sequence[Point]]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a job in MLflow."""

    experiment_id: str
    run_id: str
    created: bool
    metrics: int  # values that were sent
    parameters: int
    warnings: list[WarningItem]


def write_run(server: TrackingServer, experiment: str, record: JobRecord, points: ReadPoints) -> Written:
    """Write a job that has ended as a run of an experiment; `points` reads what was measured after a step.

    Raises:
        TrackingError: the server cannot be reached, or refuses.
    """
    experiment_id = _experiment(server, experiment)
    run, created = _run(server, experiment_id, record)
    run_id: str = run["info"]["run_id"]
    notes = _Notes()
    parameters = _parameters(record, run, notes)
    tags = _tags(record)
    for batch in _batches([("params", item) for item in parameters] + [("tags", item) for item in tags]):
        server.ask("POST", "runs/log-batch", {"run_id": run_id, **batch})
    sent = _send_curves(server, run, record, points, notes)
    if record.dataset is not None:
        server.ask("POST", "runs/log-inputs", {"run_id": run_id, "datasets": [_dataset(record)]})
    assert record.job.finished_at is not None
    end = {"status": _STATUSES[record.job.status], "end_time": _milliseconds(record.job.finished_at.timestamp())}
    server.ask("POST", "runs/update", {"run_id": run_id, "run_name": record.title, **end})
    return Written(experiment_id, run_id, created, sent, len(parameters), notes.warnings)


def _experiment(server: TrackingServer, name: str) -> str:
    """Return the id of an experiment, which is made where there is none."""

    def find() -> str:
        answer = server.ask("GET", "experiments/get-by-name", {"experiment_name": name})
        experiment: Mapping[str, str] = answer["experiment"]
        if experiment.get("lifecycle_stage") == "deleted":
            msg = f"the experiment {name!r} is deleted there: restore it, or name another one"
            raise TrackingError(msg, again=False, code="INVALID_STATE")
        return experiment["experiment_id"]

    try:
        return find()
    except TrackingError as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
    try:
        made: str = server.ask("POST", "experiments/create", {"name": name})["experiment_id"]
    except TrackingError as error:
        if error.code != "RESOURCE_ALREADY_EXISTS":  # somebody was faster
            raise
        return find()
    return made


def _run(server: TrackingServer, experiment_id: str, record: JobRecord) -> tuple[dict[str, Any], bool]:
    """Return the run of a job, and whether it was made now."""
    query = {
        "experiment_ids": [experiment_id],
        "filter": f"tags.`{JOB_TAG}` = '{record.job.id}'",
        "max_results": 1,
    }
    runs = server.ask("POST", "runs/search", query).get("runs", [])
    if runs:
        return runs[0], False
    began = record.job.started_at or record.job.created_at
    start = {"experiment_id": experiment_id, "run_name": record.title, "start_time": _milliseconds(began.timestamp())}
    tags = [_pair(JOB_TAG, record.job.id)]  # with the run itself, so that it is found however soon this ends
    made: dict[str, Any] = server.ask("POST", "runs/create", {**start, "tags": tags})["run"]
    return made, True


def _parameters(record: JobRecord, run: Mapping[str, Any], notes: "_Notes") -> list[dict[str, str]]:
    """Return the parameters that the run has not yet, as MLflow takes them."""
    kept = {item["key"]: item.get("value", "") for item in run.get("data", {}).get("params", [])}
    new = []
    for name, text in record.parameters.items():
        value = text if len(text) <= MAX_PARAMETER else f"{text[: MAX_PARAMETER - 1]}…"
        if value != text:
            notes.cut.append(name)
        key = notes.key_of(name)
        if key not in kept:
            new.append(_pair(key, value))
        elif kept[key] != value:
            notes.kept.append(name)
    return new


def _tags(record: JobRecord) -> list[dict[str, str]]:
    tags = {key_of(name): value[:MAX_TAG] for name, value in record.tags.items()}
    return [_pair(key, value) for key, value in {**tags, "mlflow.source.name": "graftwork"}.items()]


def _dataset(record: JobRecord) -> dict[str, Any]:
    """Return the dataset as an input of the run: MLflow lists it, and the runs that have it in common."""
    assert record.dataset is not None
    dataset = {
        "name": record.dataset.name[:MAX_DATASET_NAME],
        "digest": record.dataset.sha256[:MAX_DIGEST],
        "source_type": "graftwork",
        "source": json.dumps({"dataset": record.job.dataset, "sha256": record.dataset.sha256}),
    }
    return {"dataset": dataset, "tags": [_pair("mlflow.data.context", record.job.kind)]}


def _send_curves(
    server: TrackingServer, run: Mapping[str, Any], record: JobRecord, points: ReadPoints, notes: "_Notes"
) -> int:
    """Send what was measured from the last step on that the run has, then the results; return the number of values."""
    run_id: str = run["info"]["run_id"]
    tags = {item["key"]: item["value"] for item in run.get("data", {}).get("tags", [])}
    after = int(tags.get(STEP_TAG, 0)) - 1  # that step again: parts of it may be new, and equal points are one
    sent = 0
    while rows := points(after):
        for batch in _batches(_measured(rows, notes)):
            server.ask("POST", "runs/log-batch", {"run_id": run_id, **batch})
            sent += len(batch.get("metrics", []))
        after = rows[-1].step
    assert record.job.finished_at is not None
    end = _milliseconds(record.job.finished_at.timestamp())
    results = ((notes.key_of(f"result/{name}"), value) for name, value in record.results.items())
    last = [_metric(key, value, end, max(after, 0)) for key, value in results]
    for batch in _batches([("metrics", metric) for metric in last]):
        server.ask("POST", "runs/log-batch", {"run_id": run_id, **batch})
    return sent + len(last)


def _measured(rows: Sequence[Point], notes: "_Notes") -> Iterator[tuple[Entity, dict[str, Any]]]:
    for row in rows:
        time = _milliseconds(row.time)
        for name, value in row.values.items():
            yield "metrics", _metric(notes.key_of(name), value, time, row.step)
        yield "tags", _pair(STEP_TAG, str(row.step))


def _batches(items: Iterable[tuple[Entity, dict[str, Any]]]) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Yield the bodies of requests that MLflow takes, in order; of the tags with one key a body has the last."""
    batch: dict[str, list[dict[str, Any]]] = {}
    size = number = 0
    for kind, item in items:
        size += len(json.dumps(item)) + 2
        number += kind != "tags"
        full = size > _MAX_BATCH_BYTES or number > _MAX_METRICS or len(batch.get("params", [])) >= _MAX_PARAMETERS
        if full and batch and kind != "tags":
            yield batch
            batch, size, number = {}, len(json.dumps(item)), 1
        same_kind = batch.setdefault(kind, [])
        if kind == "tags":
            same_kind[:] = [other for other in same_kind if other["key"] != item["key"]]
        same_kind.append(item)
    if batch:
        yield batch


def key_of(name: str) -> str:
    """Return the key under which MLflow keeps a name: itself, or else one that it takes, with a digest of the name.

    A key has letters, digits, blanks and _ - . /; as a path it is the shortest of its kind.
    """
    parts = _BARRED.sub("_", name).split("/")
    plain = "/".join(part if part.strip(".") else "_" for part in parts)
    if plain == name and len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:_DIGEST]
    return f"{plain[: MAX_NAME - _DIGEST - 1]}.{digest}"


class _Notes:
    """What was changed for MLflow, as warnings."""

    def __init__(self) -> None:
        self.cut: list[str] = []
        self.kept: list[str] = []
        self._renamed: dict[str, str] = {}

    def key_of(self, name: str) -> str:
        """Return the key of a name, and note where it is another."""
        if (key := key_of(name)) != name:
            self._renamed[name] = key
        return key

    @property
    def warnings(self) -> list[WarningItem]:
        """The warnings, one for each way of changing."""
        first = next(iter(self._renamed.items()), ("", ""))
        said = {
            f"MLflow takes no such names: {first[0]!r} is {first[1]!r} there": len(self._renamed),
            f"values of more than {MAX_PARAMETER} characters were cut, as of {(self.cut or [''])[0]!r}": len(self.cut),
            f"MLflow keeps another value of {(self.kept or [''])[0]!r}, and parameters cannot be changed there": len(
                self.kept
            ),
        }
        return [
            WarningItem(code=WarningCode.TRACKING_CHANGED, message=message, count=count)
            for message, count in said.items()
            if count
        ]


def _metric(key: str, value: float | None, time: int, step: int) -> dict[str, Any]:
    """Return a metric; JSON has no number for None, which was not finite, and protocol buffers a word."""
    return {"key": key, "value": "NaN" if value is None else value, "timestamp": time, "step": step}


def _pair(key: str, value: str) -> dict[str, str]:
    return {"key": key, "value": value}


def _milliseconds(seconds: float) -> int:
    return math.floor(seconds * 1000)
