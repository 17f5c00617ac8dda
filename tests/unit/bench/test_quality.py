"""The quality bench's own protocol: draws, figures, the page, and that no test label reaches a job."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from sklearn.datasets import load_digits

from app.settings import Settings
from graftwork import Graftwork
from tests.support.http import Http
from tests.support.work import run_jobs

Quality = SimpleNamespace
LABELS = np.repeat(np.arange(10), 30)


def figure(quality: Quality, **fields: Any) -> Any:
    defaults = {"row": "P1", "what": "accuracy", "values": [73.0, 75.0], "controls": {"pixels": 68.0, "scratch": 70.0}}
    return quality.protocol.Figure(**{**defaults, "reference": "", "target": 74.0, "cpu_seconds": 9.4, **fields})


def write_idx(path: Path, values: "np.ndarray[Any, Any]") -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Scikit-learn's digits, 8 x 8, as MNIST is published: 300 to train on and 200 to test on."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) * 15
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for name, rows in (("train", slice(300)), ("t10k", slice(300, 500))):
        write_idx(folder / f"{name}-images-idx3-ubyte", images[rows])
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels[rows])
    return folder.parent


class AndWork(httpx.BaseTransport):
    """The application without a network; after whatever is posted, every queued job is run."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self.http, self.settings = Http(app), settings

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        content, headers = request.read(), dict(request.headers)
        answer = self.http.request(request.method, str(request.url), content=content, headers=headers)
        if request.method == "POST":
            run_jobs(self.settings)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def graftwork(app: FastAPI, settings: Settings, key: str) -> Graftwork:
    return Graftwork("http://127.0.0.1", key, transport=AndWork(app, settings))


def test_a_draw_takes_as_many_of_each_class_and_is_the_same_again(quality: Quality) -> None:
    chosen = quality.sources.few(LABELS, 7, 1)
    assert np.bincount(LABELS[chosen]).tolist() == [7] * 10
    assert len(set(chosen.tolist())) == 70
    assert (chosen == quality.sources.few(LABELS, 7, 1)).all()
    assert (chosen != quality.sources.few(LABELS, 7, 2)).any()


def test_answers_are_compared_as_text(quality: Quality) -> None:
    assert quality.protocol.accuracy(np.array(["1", "2", "3", "4"]), np.array([1, 2, 3, 9])) == 75.0


def test_a_target_is_met_from_its_own_side(quality: Quality) -> None:
    assert figure(quality).met
    assert not figure(quality, target=74.1).met
    assert figure(quality, target=75.0, lower_is_better=True).met
    assert not figure(quality, target=73.9, lower_is_better=True).met


def test_defaults_have_to_reach_the_middle_between_the_best_control_and_the_target(quality: Quality) -> None:
    controls = {"pixels": 68.0, "scratch": 70.0, "not frozen": 90.0}
    defaults = figure(quality, controls=controls).of_defaults([72.5], 3.0)
    assert (defaults.target, defaults.met, defaults.what, defaults.cpu_seconds) == (
        72.0,
        True,
        "defaults alone: accuracy",
        3.0,
    )


def test_figures_of_several_runs_become_one_page(
    quality: Quality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, page = quality.table, tmp_path / "quality.md"
    monkeypatch.setattr(table, "PAGE", page)
    table.save([figure(quality, row="P8", lower_is_better=True, values=[1.234], target=2.3)], tmp_path / "a.json")
    table.save([figure(quality), figure(quality, what="other", target=80.0)], tmp_path / "b.json")
    table.save([figure(quality, values=[70.0, 71.0])], tmp_path / "c.json")
    page.write_text(f"old\n{table.NOTES}By hand.\n", encoding="utf-8")
    table.write(table.load([tmp_path / name for name in ("a.json", "b.json", "c.json")]))
    text = page.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| P")] == [
        "| P1 | accuracy | 70.5 ± 0.7 | 74 | no | pixels 68.0, scratch 70.0 |  | 9 |",
        "| P1 | other | 74.0 ± 1.4 | 80 | no | pixels 68.0, scratch 70.0 |  | 9 |",
        "| P8 | accuracy | 1.23 | 2.3 | yes | pixels 68.00, scratch 70.00 |  | 9 |",
    ]
    assert text.endswith(f"{table.NOTES}By hand.\n")


def test_permuting_changes_the_order_of_test_labels_and_nothing_else(
    quality: Quality, data: Path, tmp_path: Path
) -> None:
    (data / "banking77").mkdir()
    for name in ("train", "test"):
        rows = [f"question {index},intent {index % 7}" for index in range(50)]
        (data / "banking77" / f"{name}.csv").write_text("text,category\n" + "\n".join(rows), encoding="utf-8")
    labels, x = np.arange(100) % 10, np.zeros((100, 40))
    np.savez(data / "mnist1d.npz", x=x, y=labels, x_test=x, y_test=labels)
    other = quality.blind.permuted(data, tmp_path / "other")
    for read in (
        lambda folder: quality.sources.idx_images(folder, "mnist"),
        quality.sources.mnist1d,
        quality.sources.banking77,
    ):
        before, after = read(data), read(other)
        assert np.array_equal(before.x, after.x)
        assert np.array_equal(before.y, after.y)
        assert np.array_equal(before.test_x, after.test_x)
        assert not np.array_equal(before.test_y, after.test_y)
        assert sorted(before.test_y) == sorted(after.test_y)
    with (data / "banking77" / "test.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["category"] == "intent 0"  # the published files stay as they are


def test_differences_are_named(quality: Quality) -> None:
    first, second = [{"backbone": "a", "heads": "b"}], [{"backbone": "a", "heads": "c"}]
    assert quality.blind.differences(first, first) == []
    assert quality.blind.differences(first, second) == ["heads of model 0"]
    assert quality.blind.differences(first, []) == ["1 models and 0"]


@pytest.mark.slow
def test_no_test_label_changes_a_model_and_every_score(
    quality: Quality, data: Path, tmp_path: Path, graftwork: Graftwork
) -> None:
    labs, scores = [], []
    for folder in (data, quality.blind.permuted(data, tmp_path / "other")):
        lab = quality.protocol.Lab(graftwork)
        digits = quality.sources.idx_images(folder, "mnist")
        model = lab.pretrain(lab.upload({"x": digits.x}), backbone={"kind": "mlp", "hidden": [32]})
        labelled = lab.labelled(digits, quality.sources.few(digits.y, 10, 0))
        scores += lab.scores(digits, [labelled], model, strategy={"kind": "linear_probe", "layer": "last"})
        labs.append(lab)
    assert [len(lab.digests) for lab in labs] == [2, 2]
    assert quality.blind.differences(labs[0].digests, labs[1].digests) == []
    assert scores[0] > 60
    assert scores[1] < 30
    assert labs[0].cpu_seconds > 0
