"""Files as people have them, end to end over HTTP: uploaded, prepared, pretrained on, fine-tuned on, asked about."""

import base64
import datetime as dt
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.datasets
from PIL import Image

from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs

RNG = np.random.default_rng(0)
Json = dict[str, Any]


@pytest.fixture
def prepared(client: Http, settings: Settings) -> Callable[..., tuple[Json, Json]]:
    """Upload a file; the dataset, and its report."""

    def upload(content: bytes, **fields: Any) -> tuple[Json, Json]:
        form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        answer = client.post("/v1/datasets", data={"name": "data", **form}, files={"file": ("data", content)})
        assert answer.status_code == 202, answer.text
        run_jobs(settings)
        dataset = client.get(f"/v1/datasets/{answer.json()['id']}").json()
        assert dataset["status"] == "ready", dataset["error"]
        return dataset, client.get(f"/v1/datasets/{dataset['id']}/report").json()

    return upload


@pytest.fixture
def learned(client: Http, settings: Settings) -> Callable[..., Json]:
    """Pretrain on a dataset and fine-tune on it; the metrics of the head."""

    def job(**request: Any) -> Json:
        answer = client.post("/v1/jobs", json=request)
        assert answer.status_code == 202, answer.text
        run_jobs(settings)
        done: Json = client.get(f"/v1/jobs/{answer.json()['id']}").json()
        assert done["status"] == "succeeded", done["error"]
        return done

    def learn(dataset: Json, target: str, backbone: Json, epochs: int = 2) -> Json:
        training = {"epochs": epochs}
        job(kind="pretraining", name="root", dataset=dataset["id"], backbone=backbone, training=training)
        heads, strategy = [{"kind": "classifier", "target": target}], {"kind": "linear_probe", "layer": "all"}
        fine = job(
            kind="fine_tuning", name="branch", dataset=dataset["id"], model="root", heads=heads, strategy=strategy
        )
        metrics: Json = fine["metrics"]["heads"][target]
        return metrics

    return learn


def answers(client: Http, inputs: list[Any]) -> list[Json]:
    answer = client.post("/v1/models/branch/predictions", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["predictions"]
    return found


def photographs() -> dict[str, bytes]:
    """Pieces of two photographs, of several sizes, formats, colours and orientations, in the folders of a computer."""
    members = {"photos/.DS_Store": b"x", "__MACOSX/photos/._a.jpg": b"x"}
    for name, photo in zip(("Temple", "Dahlia"), sklearn.datasets.load_sample_images().images, strict=True):
        for place in range(30):
            height, width = RNG.integers(60, 180, 2)
            top, left = RNG.integers(0, photo.shape[0] - height), RNG.integers(0, photo.shape[1] - width)
            piece = Image.fromarray(photo[top : top + height, left : left + width])
            kind, ending = [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")][place % 3]
            exif = Image.Exif()
            exif[0x0112] = 1 + place % 8
            buffer = io.BytesIO()
            piece.convert("RGBA" if place % 6 == 1 else "L" if place == 2 else "RGB").save(buffer, kind, exif=exif)
            members[f"photos/{name}/IMG {place:03}.{ending}"] = buffer.getvalue()
    return members


def test_a_zip_of_photographs(client: Http, prepared: Callable[..., Any], learned: Callable[..., Json]) -> None:
    members = photographs()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    image = {"height": 32, "width": 32, "resize": "crop"}
    dataset, report = prepared(archive.getvalue(), image=image)
    assert (dataset["modality"], report["rows"]["kept"]) == ("image", 60)
    assert {decision["field"]: decision["value"] for decision in report["decisions"]}["image.resize"] == "crop"
    assert any("systems leave behind" in notice for notice in report["notices"])
    metrics = learned(dataset, "label", {"kind": "convnet", "channels": [8, 16], "features": 16})
    assert metrics["accuracy"] > 0.6
    whole = [base64.b64encode(content).decode() for name, content in members.items() if name.startswith("photos/T")]
    classes = [answer["label"]["class"] for answer in answers(client, whole)]
    assert classes.count("Temple") > 20


def test_an_export_of_a_german_spreadsheet(
    client: Http, prepared: Callable[..., Any], learned: Callable[..., Json]
) -> None:
    wine = sklearn.datasets.load_wine(as_frame=True)
    frame = wine.frame.assign(target=[wine.target_names[code] for code in wine.target]).sample(frac=1, random_state=0)
    text = "﻿" + frame.to_csv(index=False, sep=";", decimal=",", lineterminator="\r\n")
    dataset, report = prepared(text.encode())
    assert {column["type"] for column in dataset["columns"]} == {"number"}
    assert len(dataset["columns"]) == 13
    found = {decision["field"]: decision["value"] for decision in report["decisions"]}
    assert (found["delimiter"], found["decimal"], found["columns.target"]) == ("semicolon", "comma", "target")
    assert learned(dataset, "target", {"kind": "mlp", "hidden": [32]})["accuracy"] > 0.85
    rows = wine.data[:40:13].to_dict("records")
    assert [answer["target"]["class"] for answer in answers(client, rows)] == ["class_0"] * 4


def test_labelled_sentences_with_ids(client: Http, prepared: Callable[..., Any], learned: Callable[..., Json]) -> None:
    pages = sorted(Path(sklearn.datasets.__file__).parent.glob("descr/*.rst"))
    rows = [
        {"id": f"{page.stem}-{place}", "text": part, "label": "people" if "people" in part.lower() else "others"}
        for page in pages
        for place, part in enumerate(page.read_text(encoding="utf-8").split("\n\n"))
        if len(part.split()) > 5
    ]
    dataset, report = prepared("\n".join(map(json.dumps, rows)).encode())
    assert (dataset["modality"], dataset["targets"][0]["classes"]) == ("text", ["others", "people"])
    assert any("only name the rows: id" in notice for notice in report["notices"])
    metrics = learned(dataset, "label", {"kind": "gru", "width": 16, "depth": 1}, epochs=1)
    assert metrics["confusion_matrix"]["classes"] == ["others", "people"]
    (answer,) = answers(client, ["The pictures show people \U0001f600"])
    assert sum(answer["label"]["probabilities"].values()) == pytest.approx(1)


def test_a_log_of_sensors(client: Http, prepared: Callable[..., Any], learned: Callable[..., Json]) -> None:
    """A reading a line, some lost, devices of unequal length: made of digits read from left to right."""
    pictures, digits = sklearn.datasets.load_digits(return_X_y=True)
    lines = ["device,timestamp,temp,pressure,state"]
    for device in RNG.permutation(200):
        for step in RNG.permutation(8 - device % 3):
            row = pictures[device].reshape(8, 8)[step]
            temperature = "" if (device + step) % 17 == 0 else row[2]
            time = dt.datetime(2024, 3, 1, tzinfo=dt.UTC) + dt.timedelta(hours=6 * int(step))
            lines.append(f"dev-{device},{time:%Y-%m-%d %H:%M:%S},{temperature},{row[5]},s{int(digits[device] > 4)}")
    content = "\n".join(lines).encode()
    options = {"series": {"id": "device", "time": "timestamp"}}
    _, report = prepared(content, **options)
    assert any("give it the role target" in notice for notice in report["notices"])
    dataset, report = prepared(content, **options, columns={"state": "target"})
    assert (dataset["modality"], report["series"]["shortest"], report["series"]["longest"]) == ("series", 6, 8)
    assert learned(dataset, "state", {"kind": "mlp", "hidden": [32]})["auc_roc"] is not None
    asked = [[[row[2], row[5]] for row in pictures[device].reshape(8, 8).tolist()] for device in range(3)]
    assert {answer["state"]["class"] for answer in answers(client, [*asked, [[None, 3.0], [4.0, None]]])} <= {
        "s0",
        "s1",
    }


def test_parquet_with_nulls(client: Http, prepared: Callable[..., Any], learned: Callable[..., Json]) -> None:
    frame = sklearn.datasets.load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=0)
    sizes = frame["mean radius"].tolist()
    columns: dict[str, Any] = {
        name: pa.array([None if place % 11 == shift else value for place, value in enumerate(frame[name])])
        for shift, name in enumerate(list(frame)[:5])
    }
    columns["grade"] = pa.array([None if value > 25 else ("low", "mid", "high")[int(value // 10)] for value in sizes])
    first = dt.date(2020, 1, 1)
    columns["seen"] = pa.array([None if day % 13 == 0 else first + dt.timedelta(day) for day in range(len(sizes))])
    columns["malignant"] = pa.array(
        [None if place % 7 == 0 else value == 0 for place, value in enumerate(frame["target"])]
    )
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    dataset, report = prepared(sink.getvalue(), columns={"malignant": "target"})
    assert [column["type"] for column in dataset["columns"]] == ["number"] * 5 + ["category", "date"]
    assert report["rows"]["removed"]["missing_target"] == 82
    assert learned(dataset, "malignant", {"kind": "mlp", "hidden": [32]})["accuracy"] > 0.8
    names = [column["name"] for column in dataset["columns"]]
    nothing = dict.fromkeys(names)
    unknown = nothing | {"grade": "enormous", "seen": "2031-05-05", "mean radius": 1e30}
    for answer in answers(client, [nothing, unknown]):
        assert sum(answer["malignant"]["probabilities"].values()) == pytest.approx(1)
