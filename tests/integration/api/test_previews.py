"""What augmentations do can be looked at before a training, for every modality, and nothing stays behind."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from app.dependencies import Services
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

SIDE = 12


def upload(client: Http, services: Services, content: bytes, name: str, **fields: Any) -> str:
    data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    answer = client.post("/v1/datasets", files={"file": (name, content)}, data={"name": "shapes", **data})
    assert answer.status_code == 202, answer.text
    run_jobs(services.settings)
    dataset_id = answer.json()["id"]
    assert client.get(f"/v1/datasets/{dataset_id}").json()["status"] == "ready"
    return str(dataset_id)


@pytest.fixture
def images(client: Http, services: Services) -> str:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE), np.uint8))
    return upload(client, services, buffer.getvalue(), "a.npz")


@pytest.fixture
def table(client: Http, services: Services) -> str:
    lines = "".join(f"{i},{i * i % 37}\n" for i in range(40))
    return upload(client, services, f"width,height\n{lines}".encode(), "a.csv")


@pytest.fixture
def series(client: Http, services: Services) -> str:
    values = np.random.default_rng(1).normal(size=(40, 10, 2)).astype(np.float32)
    values[::2, 7:] = np.nan
    buffer = io.BytesIO()
    np.savez(buffer, x=values)
    return upload(client, services, buffer.getvalue(), "a.npz", modality="series")


def preview(client: Http, dataset: str, *kinds: str | dict[str, Any], **fields: Any) -> Any:
    chosen = [{"kind": kind} if isinstance(kind, str) else kind for kind in kinds]
    return client.post(f"/v1/datasets/{dataset}/previews", json={"augmentations": chosen, **fields})


def pixels(url: str) -> np.ndarray[Any, Any]:
    content = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return np.asarray(PIL.Image.open(io.BytesIO(content)))


def test_images_before_and_after(client: Http, services: Services, images: str) -> None:
    answer = preview(client, images, {"kind": "flip", "horizontal": 1})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["object"], body["modality"], len(body["data"])) == ("preview", "image", 8)
    rows = client.get(f"/v1/datasets/{images}/rows", params={"limit": 100}).json()["data"]
    kept = {row["row"]: pixels(row["input"]) for row in rows if row["split"] == "train"}
    for row in body["data"]:
        before, after = pixels(row["before"]), pixels(row["after"])
        assert np.array_equal(before, kept[row["row"]])
        assert np.array_equal(after, before[:, ::-1])
        assert row["mix"] is None
    assert list((services.settings.data_folder / "tmp").iterdir()) == []


def test_named_rows_come_in_their_order(client: Http, images: str) -> None:
    rows = client.get(f"/v1/datasets/{images}/rows", params={"limit": 3}).json()["data"]
    expected = [row["row"] for row in rows][::-1]
    assert [row["row"] for row in preview(client, images, "noise", rows=expected).json()["data"]] == expected
    assert len(preview(client, images, "noise", limit=2).json()["data"]) == 2


def test_the_partner_of_a_mixed_row_is_told(client: Http, table: str) -> None:
    body = preview(client, table, {"kind": "mixup", "alpha": 1}).json()
    by_number = {row["row"]: np.array(row["before"]) for row in body["data"]}
    for row in body["data"]:
        other, share = by_number[row["mix"]["row"]], row["mix"]["share"]
        expected = share * np.array(row["before"]) + (1 - share) * other
        assert np.allclose(row["after"], expected, atol=1e-6)


def test_steps_of_a_series_that_are_hidden_are_null(client: Http, series: str) -> None:
    body = preview(client, series, {"kind": "gap", "largest": 0.6, "count": 3}).json()
    assert body["modality"] == "series"
    hidden = 0
    for row in body["data"]:
        assert {len(row["before"])} <= {7, 10}
        for before, after in zip(row["before"], row["after"], strict=False):
            hidden += after == [None, None]
            assert after in ([None, None], before)
    assert hidden > 5


def test_masked_tokens_can_be_read(client: Http, services: Services) -> None:
    lines = "".join(json.dumps({"body": f"the {i}th of many short texts"}) + "\n" for i in range(40))
    dataset = upload(client, services, lines.encode(), "a.jsonl", modality="text")
    body = preview(client, dataset, {"kind": "mask", "share": 0.3}).json()
    for row in body["data"]:
        assert row["before"].endswith("th of many short texts")
        assert "[MASK]" in row["after"]
    dropped = preview(client, dataset, {"kind": "drop", "share": 0.3}).json()["data"]
    assert all(len(row["after"]) < len(row["before"]) for row in dropped)


def test_the_same_request_gives_the_same_answer_whatever_else_happens(client: Http, images: str) -> None:
    first = preview(client, images, "crop", "erase", seed=3).json()
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        others = list(pool.map(lambda _: preview(client, images, "crop", "erase", seed=3).json(), range(8)))
    assert all(other == first for other in others)
    assert torch.equal(state, torch.get_rng_state()), "the process's own random numbers stay"
    assert preview(client, images, "crop", "erase", seed=4).json() != first


def test_an_augmentation_of_another_modality_is_refused(client: Http, table: str) -> None:
    problem = check_problem(preview(client, table, "mask", "flip"), 422, "config_does_not_fit")
    assert problem["errors"] == [
        {
            "loc": ["body", "augmentations", 1, "kind"],
            "msg": "flip changes image data, and this dataset is a table",
            "row": None,
        }
    ]


BAD_REQUESTS: list[tuple[dict[str, Any], list[Any]]] = [
    ({"augmentations": [{"kind": "noise"}] * 17}, ["body", "augmentations"]),
    ({"augmentations": [{"kind": "magic"}]}, ["body", "augmentations", 0]),
    ({"augmentations": [{"kind": "noise", "strength": -1}]}, ["body", "augmentations", 0, "strength"]),
    ({"limit": 17}, ["body", "limit"]),
    ({"rows": [1] * 17}, ["body", "rows"]),
    ({"rows": [1, 10**6]}, ["body", "rows", 1]),
    ({"seed": -1}, ["body", "seed"]),
    ({"colour": 1}, ["body", "colour"]),
]


def test_a_bad_request_is_told_where(client: Http, table: str) -> None:
    for fields, place in BAD_REQUESTS:
        body = {"augmentations": [{"kind": "mask"}], **fields}
        problem = check_problem(client.post(f"/v1/datasets/{table}/previews", json=body), 422)
        assert [error["loc"] for error in problem["errors"]] == [place], fields  # type: ignore[attr-defined]


def test_a_dataset_that_is_not_ready_is_not_shown(client: Http) -> None:
    answer = client.post("/v1/datasets", files={"file": ("a.csv", b"a,b\n1,2\n3,4\n")}, data={"name": "x"})
    check_problem(preview(client, answer.json()["id"], "noise"), 409, "dataset_not_ready")
    check_problem(preview(client, "ds_none", "noise"), 404, "dataset_not_found")
