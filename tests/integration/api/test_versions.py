"""One source, several datasets: other options, the same splits, and what two datasets share."""

import io
import json
import time
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.db.tables import DatasetRow
from app.dependencies import Services
from app.kit.ids import new_id
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs

IMAGES = np.random.default_rng(5).integers(0, 256, (120, 6, 6), np.uint8)
SPELT = b"width,label\n" + b"".join(b"%d,%s\n" % (i, (b"Cat", b"dog", b"cat ")[i % 3]) for i in range(60))


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def upload(client: Http, content: bytes, **fields: Any) -> dict[str, Any]:
    data = {"name": "mine"} | {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
    answer = client.post("/v1/datasets", files={"file": ("a.bin", content)}, data=data)
    assert answer.status_code == 202, answer.text
    dataset: dict[str, Any] = answer.json()
    return dataset


def look(client: Http, dataset: dict[str, Any], part: str = "") -> Any:
    answer = client.get(dataset["links"]["self"] + part)
    assert answer.status_code == 200, answer.text
    return answer.json()


def splits(client: Http, dataset: dict[str, Any]) -> dict[int, str]:
    """The split of each row of the source."""
    splits: dict[int, str] = {}
    total = look(client, dataset, "/rows")["total"]
    for offset in range(0, total, 100):
        splits |= {
            row["row"]: row["split"] for row in look(client, dataset, f"/rows?limit=100&offset={offset}")["data"]
        }
    return splits


def again(client: Http, dataset: dict[str, Any], **body: Any) -> Any:
    return client.post(dataset["links"]["self"] + "/versions", json=body)


def test_other_options_make_another_dataset_of_the_same_source(client: Http, services: Services) -> None:
    first = upload(client, SPELT, splits={"train": 0.5, "test": 0.5})
    run_jobs(services.settings)
    body = {"name": "as written", "options": {"cleaning": [{"kind": "labels", "action": "report"}]}}
    answer = again(client, first, **body)
    assert answer.status_code == 202
    second = answer.json()
    assert answer.headers["location"] == second["links"]["self"] != first["links"]["self"]
    assert (second["name"], second["sha256"], second["filename"]) == ("as written", first["sha256"], "a.bin")
    run_jobs(services.settings)
    assert look(client, first)["targets"][0]["classes"] == ["Cat", "dog"]
    assert look(client, second)["targets"][0]["classes"] == ["Cat", "cat", "dog"]
    assert look(client, second)["rows"] == {"train": 30, "validation": 0, "test": 30}, "options not given stay"
    steps = look(client, first, "/report")["cleaning"]
    merged = next(step for step in steps if step["kind"] == "labels")
    assert (merged["action"], merged["unit"], merged["affected"]) == ("merge", "classes", 2)
    assert merged["examples"] == ["'Cat' = 'cat'"]


def test_a_failed_dataset_is_mended_without_another_upload(client: Http, services: Services) -> None:
    failed = upload(client, b"a,b\n1,2\n2,inf\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(3, 30)))
    run_jobs(services.settings)
    assert look(client, failed)["status"] == "failed"
    mended = again(client, failed, options={"missing": "impute"}).json()
    run_jobs(services.settings)
    assert look(client, mended)["status"] == "ready"


def test_rows_keep_the_split_they_had(client: Http, services: Services) -> None:
    first = upload(client, npz(x=IMAGES[:80]), seed="1")
    run_jobs(services.settings)
    grown = upload(client, npz(x=IMAGES[::-1]), seed="2", same_splits_as=first["id"])
    usual = upload(client, npz(x=IMAGES[::-1]), seed="2")
    run_jobs(services.settings)
    before, after, other = splits(client, first), splits(client, grown), splits(client, usual)
    assert all(after[119 - row] == split for row, split in before.items())
    assert any(other[119 - row] != split for row, split in before.items())
    fresh = [split for row, split in after.items() if 119 - row >= 80]
    assert (fresh.count("train"), fresh.count("validation"), fresh.count("test")) == (32, 4, 4)
    decision = next(item for item in look(client, grown, "/report")["decisions"] if item["field"] == "splits")
    assert decision["reason"].startswith("80 of 120 rows")


def test_a_version_keeps_the_splits_of_its_rows_unless_told_otherwise(client: Http, services: Services) -> None:
    images = np.concatenate([IMAGES, IMAGES[:20]])
    first = upload(client, npz(x=images, y=np.arange(140) % 2 * (np.arange(140) < 120)))
    run_jobs(services.settings)
    before = splits(client, first)
    assert len(before) == 120 - 10, "contradicting labels go"
    smaller = again(client, first, options={"image": {"height": 4, "width": 4}}).json()
    everything = again(client, first, options={"cleaning": []}).json()
    another = again(client, first, options={"seed": 3}).json()
    run_jobs(services.settings)
    assert splits(client, smaller).items() >= before.items()
    assert splits(client, everything).items() >= before.items()
    assert len(splits(client, everything)) == 140
    assert splits(client, another).items() != before.items()
    nested = again(client, everything, options={"cleaning": [{"kind": "duplicates"}]}).json()
    run_jobs(services.settings)
    assert splits(client, nested).items() >= before.items()
    other_seed = again(client, nested, options={"seed": 3}).json()
    run_jobs(services.settings)
    assert splits(client, other_seed) == splits(client, another), "a version of a version is split anew, too"
    given = upload(
        client,
        b"width,label,split\n"
        + b"".join(b"%d,%s,%s\n" % (i, b"ab"[i % 2 :][:1], (b"train", b"test")[i % 2]) for i in range(20)),
    )
    run_jobs(services.settings)
    copy = again(client, given).json()
    run_jobs(services.settings)
    assert splits(client, copy) == splits(client, given)


def test_a_dataset_whose_splits_cannot_be_kept_is_refused_at_once(client: Http, services: Services) -> None:
    def ask(other: str) -> Any:
        files = {"file": ("a.csv", SPELT)}
        return client.post("/v1/datasets", files=files, data={"name": "n", "same_splits_as": other})

    check_problem(ask(new_id("ds")), 404, "dataset_not_found")
    check_problem(ask("ds_1; drop table"), 404, "dataset_not_found")
    first = upload(client, SPELT)
    check_problem(ask(first["id"]), 409, "dataset_not_ready")
    run_jobs(services.settings)
    with services.database.writing() as session:
        session.execute(update(DatasetRow).values(files={"inputs.npy": {"sha256": "0" * 64, "bytes": 1}}))
    check_problem(ask(first["id"]), 409, "dataset_outdated")
    check_problem(client.get(first["links"]["self"] + "/leaks"), 409, "dataset_outdated")


def test_a_dataset_that_vanishes_before_its_splits_are_kept_fails_in_words(client: Http, services: Services) -> None:
    first = upload(client, npz(x=IMAGES))
    run_jobs(services.settings)
    second = again(client, first, options={"same_splits_as": first["id"]}).json()
    assert client.delete(first["links"]["self"]).status_code == 204
    run_jobs(services.settings)
    error = look(client, second)["error"]
    assert (error["code"], error["errors"][0]["loc"]) == ("bad_option", ["same_splits_as"])


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"name": "a\x1b"}, ["body", "name"]),
        ({"options": {"seed": -1}}, ["body", "options", "seed"]),
        ({"options": {"cleaning": [{"kind": "magic"}]}}, ["body", "options", "cleaning"]),
        ({"surprise": 1}, ["body", "surprise"]),
        ({"options": {"duplicates": "keep", "cleaning": []}}, ["body", "options"]),
    ],
)
def test_a_wrong_version_is_refused(client: Http, body: dict[str, Any], place: list[str]) -> None:
    first = upload(client, SPELT)
    problem = check_problem(again(client, first, **body), 422)
    assert problem["errors"][0]["loc"][: len(place)] == place  # type: ignore[index]
    assert len(client.get("/v1/datasets").json()["data"]) == 1


def test_one_key_makes_one_version(client: Http) -> None:
    first = upload(client, SPELT)
    path = first["links"]["self"] + "/versions"
    first, second = (client.post(path, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.json() == second.json()
    assert len(client.get("/v1/datasets").json()["data"]) == 2
    other = client.post(path, headers={"Idempotency-Key": "k"}, json={"name": "another"})
    check_problem(other, 422, "idempotency_mismatch")


def test_a_stranger_makes_no_version_and_compares_nothing(
    app: FastAPI, client: Http, services: Services, make_key: MakeKey
) -> None:
    stranger = Http(app, make_key(project="another"))
    own, other = upload(client, npz(x=IMAGES)), upload(stranger, npz(x=IMAGES))
    run_jobs(services.settings)
    check_problem(again(stranger, own), 404)
    check_problem(again(stranger, other, options={"same_splits_as": own["id"]}), 404)
    path = other["links"]["self"] + "/leaks"
    check_problem(stranger.get(path, params={"against": own["id"]}), 404)
    assert stranger.get(path).status_code == 200
    form = {"name": "n", "same_splits_as": own["id"]}
    check_problem(stranger.post("/v1/datasets", files={"file": ("a.csv", SPELT)}, data=form), 404)
    assert len(stranger.get("/v1/datasets").json()["data"]) == 1


def test_rows_of_test_that_a_corpus_trains_on_are_found_and_taken_out(client: Http, services: Services) -> None:
    near = np.clip(IMAGES[:1].astype(np.int16) + 1, 0, 255).astype(np.uint8)
    given = np.repeat(["test", "train"], [20, 20])
    labelled = upload(client, npz(x=IMAGES[:40], y=np.arange(40) % 2, split=given))
    corpus = upload(client, npz(x=np.concatenate([near, IMAGES[10:]])), splits={"train": 1.0})
    run_jobs(services.settings)
    leaks = look(client, labelled, f"/leaks?against={corpus['id']}")
    assert (leaks["object"], leaks["dataset"], leaks["against"]) == ("leaks", labelled["id"], corpus["id"])
    assert leaks["counts"] == [
        {"kind": "exact", "split": "test", "other_split": "train", "rows": 10},
        {"kind": "exact", "split": "train", "other_split": "train", "rows": 20},
        {"kind": "near", "split": "test", "other_split": "train", "rows": 1},
    ]
    assert leaks["rows"][0] == {"kind": "exact", "row": 10, "split": "test", "other_row": 1, "other_split": "train"}
    assert leaks["rows"][-1] == {"kind": "near", "row": 0, "split": "test", "other_row": 0, "other_split": "train"}
    assert "same_splits_as" in leaks["advice"]
    safe = again(client, corpus, options={"same_splits_as": labelled["id"]}).json()
    run_jobs(services.settings)
    counts = look(client, labelled, f"/leaks?against={safe['id']}")["counts"]
    assert {"kind": "exact", "split": "test", "other_split": "test", "rows": 10} in counts
    assert not [c for c in counts if c["kind"] == "exact" and c["split"] == "test" and c["other_split"] == "train"]


def test_different_kinds_of_data_are_not_compared(client: Http, services: Services) -> None:
    images, table = upload(client, npz(x=IMAGES)), upload(client, SPELT)
    check_problem(client.get(images["links"]["self"] + "/leaks"), 409, "dataset_not_ready")
    run_jobs(services.settings)
    path = images["links"]["self"] + "/leaks"
    check_problem(client.get(path, params={"against": table["id"]}), 422, "wrong_modality")
    check_problem(client.get(path, params={"against": "x"}), 404, "dataset_not_found")
    alone = client.get(path).json()
    assert (alone["against"], alone["counts"], alone["rows"]) == (None, [], [])


def test_a_hundred_thousand_rows_are_compared_within_seconds(client: Http, services: Services) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (55_000, 4, 4), np.uint8)
    first = upload(client, npz(x=pixels[:50_000]))
    second = upload(client, npz(x=pixels[5_000:]))
    run_jobs(services.settings)
    began = time.process_time()
    leaks = look(client, first, f"/leaks?against={second['id']}")
    assert time.process_time() - began < 5, "about half a second of the processor"
    assert sum(count["rows"] for count in leaks["counts"] if count["kind"] == "exact") == 45_000
    assert len(leaks["rows"]) == 100
