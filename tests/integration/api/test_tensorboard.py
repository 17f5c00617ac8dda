"""Event files, read by TensorBoard's own reader."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.tracked import measured, train

pytestmark = [
    pytest.mark.one_database,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of TensorBoard
]


def events_of(content: bytes, folder: Path, name: str = "events.out.tfevents.1.job") -> list[Any]:
    """The events of a file, each with its checksums checked, as TensorBoard's views get them."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    (folder / name).write_bytes(content)
    return list(loader.EventFileLoader(str(folder / name)).Load())


def values_of(events: list[Any]) -> dict[tuple[str, int], Any]:
    return {(value.tag, event.step): value for event in events for value in event.summary.value}


def scalars_of(events: list[Any]) -> dict[tuple[str, int], float]:
    """The numbers, which TensorBoard's reader makes tensors of."""
    return {
        place: value.tensor.float_val[0]
        for place, value in values_of(events).items()
        if value.metadata.plugin_data.plugin_name == "scalars"
    }


def test_the_file_holds_curves_results_and_parameters(client: Http, settings: Settings, tmp_path: Path) -> None:
    job = train(client, settings)
    answer = client.get(f"/v1/jobs/{job['id']}/tensorboard")
    assert answer.status_code == 200, answer.text
    assert re.search(rf'filename="events.out.tfevents.\d+.{job["id"]}"', answer.headers["content-disposition"])
    events = events_of(answer.content, tmp_path)
    assert events[0].file_version == "brain.Event:2"

    scalars, expected = scalars_of(events), measured(client, job)
    curves = {place: value for place, value in scalars.items() if not place[0].startswith("result/")}
    assert len(expected) > 5
    assert curves == pytest.approx(expected, rel=1e-6)
    last = max(step for _, step in expected)
    assert {step for tag, step in scalars if tag.startswith("result/")} <= {last}

    plugin_data = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    values = values_of(events)
    start = values["_hparams_/session_start_info", 0].metadata.plugin_data
    assert start.plugin_name == "hparams"
    hparams = plugin_data.HParamsPluginData.FromString(start.content).session_start_info.hparams
    assert hparams["training.epochs"].number_value == 3
    assert hparams["backbone.kind"].string_value == "mlp"
    end = plugin_data.HParamsPluginData.FromString(values["_hparams_/session_end_info", 0].metadata.plugin_data.content)
    assert end.session_end_info.status == 1  # STATUS_SUCCESS
    (text,) = values["parameters", 0].tensor.string_val
    assert f'"graftwork.dataset": "{job["dataset"]}"' in text.decode()
    assert '"graftwork.metadata.größe/ä": "ja"' in text.decode()


def test_a_queued_job_has_a_file_without_curves(client: Http, settings: Settings, tmp_path: Path) -> None:
    dataset = train(client, settings)["dataset"]
    queued = client.post("/v1/jobs", json={"kind": "pretraining", "dataset": dataset}).json()
    events = events_of(client.get(f"/v1/jobs/{queued['id']}/tensorboard").content, tmp_path)
    assert [tag for tag, _ in values_of(events)] == [
        "_hparams_/session_start_info",
        "_hparams_/session_end_info",
        "parameters",
    ]


def test_a_strange_job_is_not_found(client: Http) -> None:
    check_problem(client.get("/v1/jobs/job_none/tensorboard"), 404, "job_not_found")


def test_what_was_not_finite_is_not_a_number(tmp_path: Path) -> None:
    from app.tracking import event_file  # noqa: PLC0415 - alone here

    content = event_file.header(1.5) + event_file.scalars(2.5, 300, {"a": None, "b": 1e300, "ü\ud800": -1.0})
    scalars = scalars_of(events_of(content, tmp_path))
    assert math.isnan(scalars["a", 300])
    assert scalars["b", 300] == math.inf
    assert scalars["ü?", 300] == -1.0
