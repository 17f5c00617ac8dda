"""Answers have attributes with types, and are the JSON as it came, whatever a newer or an older service says."""

import datetime as dt
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graftwork import Embeddings, Job, JobSummary, Predictions, answers
from graftwork._sync.job import JobMethods
from graftwork.answer import Answer
from graftwork.inputs import index_of
from graftwork.progress import ProgressLine, describe, duration, show_with

JOB: dict[str, Any] = {
    "id": "job_1",
    "kind": "pretraining",
    "name": "digits",
    "status": "running",
    "phase": "training",
    "progress": {"fraction": 0.25, "step": 5, "total_steps": 20, "epoch": 1, "eta_seconds": 200.0, "loss": 0.51234},
    "created_at": "2024-02-29T10:00:00Z",
    "outputs": [{"model": "mdl_1"}],
    "error": None,
}


def test_an_answer_has_types_and_is_its_json() -> None:
    job = answers.Job.from_json(JOB)
    assert job.created_at == dt.datetime(2024, 2, 29, 10, tzinfo=dt.UTC)
    assert job["created_at"] == "2024-02-29T10:00:00Z"
    assert job.progress is not None
    assert (job.progress.step, job["progress"]["step"], job.outputs[0].model) == (5, 5, "mdl_1")
    assert job == JOB
    assert answers.Job.from_json(dict(JOB)) == job
    assert job != {**JOB, "id": "job_2"}
    assert (dict(job), {**job}, [*job], len(job)) == (JOB, JOB, [*JOB], len(JOB))
    assert ("status" in job, "nothing" in job, job.get("nothing", 3), bool(job)) == (True, False, 3, True)
    assert json.loads(json.dumps(job.to_dict())) == JOB
    assert (list(job.keys()), list(job.values()), dict(job.items())) == ([*JOB], [*JOB.values()], JOB)


def test_what_is_not_known_yet_is_kept() -> None:
    changed = {"status": "sleeping", "created_at": "soon", "more": {"a": 1}}
    newer = {**JOB, **changed, "progress": {"fraction": "half", "x": 2}}
    job: Any = answers.Job.from_json(newer)
    assert (job.status, job.created_at, job.more, job.id) == ("sleeping", "soon", {"a": 1}, "job_1")
    assert (job.progress.fraction, job.progress.x, job.outputs[0].model) == ("half", 2, "mdl_1")
    assert job == newer


def test_what_did_not_come_is_missing_and_said_so() -> None:
    job: Any = answers.Job.from_json(JOB)
    with pytest.raises(AttributeError, match=r"came without 'metrics'.*view"):
        job.metrics  # noqa: B018 - it is asked for
    with pytest.raises(AttributeError, match="no attribute 'statsu'"):
        job.statsu  # noqa: B018 - it is asked for
    with pytest.raises(KeyError):
        job["metrics"]
    assert not hasattr(job, "metrics")


def test_no_field_hides_a_method() -> None:
    for name, model in vars(answers).items():
        if isinstance(model, type) and issubclass(model, Answer):
            assert not {field for field in model.model_fields if hasattr(Answer, field)}, name
    for job in (Job, JobSummary):
        methods = {name for name in vars(JobMethods) if not name.startswith("_")}
        assert not methods & set(job.model_fields), job


PREDICTION = {
    "size": {"class": "large", "probabilities": {"large": 0.9, "small": 0.1}},
    "price": {"value": 3.5, "interval": [3.0, 4.0]},
    "tags": {"labels": ["a", "b"]},
}


def test_predictions_become_a_frame_with_the_index_of_the_inputs() -> None:
    inputs = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    predictions = Predictions(index=index_of(inputs))
    model = {"id": "mdl_1", "name": "m", "version": 3}
    warning = {"code": "c", "message": "m", "count": 1, "rows": [0], "remedy": "r"}
    predictions.add({"model": model, "predictions": [PREDICTION] * 2, "warnings": [warning]}, "predictions")
    frame = predictions.to_pandas()
    assert [*frame.index] == ["x", "y"]
    assert frame.loc["x"].to_dict() == {
        "size.class": "large",
        "size.probabilities.large": 0.9,
        "size.probabilities.small": 0.1,
        "price.value": 3.5,
        "price.interval.low": 3.0,
        "price.interval.high": 4.0,
        "tags.labels": ["a", "b"],
    }
    assert predictions == [PREDICTION] * 2
    assert predictions.model is not None
    assert (predictions.model.version, predictions.warnings[0].remedy) == (3, "r")
    assert Predictions().to_pandas().empty


def test_embeddings_become_a_frame() -> None:
    embeddings = Embeddings([[1.0, 2.0], [3.0, 4.0]], index=index_of(np.zeros((2, 2))))
    assert embeddings.to_pandas().to_dict("list") == {"embedding.0": [1.0, 3.0], "embedding.1": [2.0, 4.0]}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_of_a_terminal() -> None:
    terminal = Terminal()
    show = ProgressLine(terminal)
    show(answers.Job.from_json(JOB))
    show(answers.Job.from_json({**JOB, "status": "succeeded"}))
    first, last = terminal.getvalue().removeprefix("\r").split("\r")
    assert first == "pretraining digits running (training) 25%, step 5 of 20 loss 0.5123 3:20 min left"
    assert last.rstrip() == "pretraining digits succeeded"
    assert last.endswith("\n")
    assert len(last) == len(first) + 1, "nothing of the longer line is left"


def test_progress_is_a_line_a_state_elsewhere() -> None:
    file = io.StringIO()
    show = ProgressLine(file)
    for _ in range(3):
        show(answers.Job.from_json(JOB))
    show(answers.Job.from_json({**JOB, "status": "failed", "error": {"message": "too little memory"}}))
    first, last = file.getvalue().splitlines()
    assert "25%" in first
    assert last == "pretraining digits failed too little memory"


def test_progress_goes_where_it_is_asked_to() -> None:
    seen: list[Any] = []
    job = answers.Job.from_json(JOB)
    show_with(seen.append)(job)
    show_with(progress=False)(job)
    assert seen == [job]
    assert describe(answers.Job.from_json({"id": "job_1", "status": "queued", "queue_position": 3})) == (
        "job job_1 queued at place 3"
    )


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.4, 60, 3599, 3600, 7500)] == [
        "0 s",
        "59 s",
        "1:00 min",
        "59:59 min",
        "1:00 h",
        "2:05 h",
    ]
