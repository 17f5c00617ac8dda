"""Batch predictions through the API and the real runner: every row of a file once, whatever it holds or befalls it."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.db.session import Database
from app.dependencies import Services
from app.settings import Settings
from tests.integration.jobs.test_job_life import events_of, job_of, run_drained, upload
from tests.support.http import Http
from tests.support.models import COLUMNS, add_bundle, add_model, make_image_bundle
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

ROWS = 2500  # three blocks


@pytest.fixture
def model(services: Services, project_id: str) -> str:
    return add_model(services, project_id, "sizes").id


def numbers(rows: int = ROWS) -> list[list[float]]:
    return np.random.default_rng(0).normal(size=(rows, 3)).round(3).tolist()


def as_csv(rows: list[list[float]], **ids: str) -> bytes:
    """The rows with an id before them, which is a formula now and then."""
    head = f"id,{','.join(COLUMNS)}\n"
    lines = (f"{ids.get(f'row{number}', f'c{number}')},{','.join(map(str, row))}\n" for number, row in enumerate(rows))
    return (head + "".join(lines)).encode()


def send(client: Http, content: bytes, name: str = "rows.csv", **fields: Any) -> str:
    data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    answer = client.post("/v1/batch_predictions", files={"file": (name, content)}, data={"model": "sizes", **data})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["links"]["self"]
    return str(answer.json()["id"])


def results(client: Http, job: str) -> list[dict[str, Any]]:
    """The rows of the Parquet file, which hold what the CSV file holds."""
    found = job_of(client, job)
    assert found["status"] == "succeeded", found["error"]
    rows = pq.read_table(io.BytesIO(client.get(f"/v1/jobs/{job}/files/results.parquet").content)).to_pylist()
    table = list(csv.DictReader(io.StringIO(client.get(f"/v1/jobs/{job}/files/results.csv").content.decode())))
    assert [int(row["row"]) for row in table] == [row["row"] for row in rows]
    assert len(rows) == found["metrics"]["rows"]
    return list(rows)


def answer(
    client: Http, settings: Settings, content: bytes, name: str = "rows.csv", **fields: Any
) -> list[dict[str, Any]]:
    job = send(client, content, name, **fields)
    run_jobs(settings)
    return results(client, job)


def predicted(client: Http, rows: list[list[float]]) -> list[dict[str, Any]]:
    found = client.post("/v1/models/sizes/predictions", json={"inputs": rows})
    return [prediction["size"] for prediction in found.json()["predictions"]]


@pytest.mark.usefixtures("model")
def test_every_row_of_a_file_is_answered_as_a_request_is(client: Http, settings: Settings) -> None:
    rows = numbers()
    found = answer(client, settings, as_csv(rows), outputs=["predictions", "embeddings"])
    assert [row["row"] for row in found] == list(range(ROWS))
    assert [row["id"] for row in found] == [f"c{number}" for number in range(ROWS)]
    assert {row["error"] for row in found} == {None}
    for row, one in zip(found[::250], predicted(client, rows[::250]), strict=True):
        assert row["size.class"] == one["class"]
        assert row["size.probabilities.large"] == pytest.approx(one["probabilities"]["large"], abs=1e-6)
    embeddings = client.post("/v1/models/sizes/embeddings", json={"inputs": rows[:3]}).json()["embeddings"]
    assert np.allclose([row["embedding"] for row in found[:3]], embeddings, atol=1e-6)


@pytest.mark.usefixtures("model")
def test_rows_that_cannot_be_read_say_so_and_the_others_are_answered(client: Http, settings: Settings) -> None:
    """The 20 worst rows of a request stand in its error; here all of them do, whatever is wrong with them."""
    lines = as_csv(numbers()).decode().splitlines()
    lines[3] = "c2,many,1,2"
    lines[5] = "c4,1,2"
    for number in range(1100, 1150):
        lines[number + 1] = f"c{number},x,1,2"
    lines[ROWS] = f"c{ROWS - 1},1e9,0,0"
    job = send(client, "\n".join(lines).encode())
    run_jobs(settings)
    found = results(client, job)
    unreadable = [2, 4, *range(1100, 1150)]
    assert [row["row"] for row in found] == list(range(ROWS))
    assert [row["row"] for row in found if row["error"] is not None] == unreadable
    assert [row["row"] for row in found if row["size.class"] is None] == unreadable
    assert found[2]["error"].startswith("width: ")
    assert found[4]["error"] == "line 6 has 3 fields and the header has 4"
    assert (found[2]["id"], found[4]["id"]) == ("c2", None)
    told = job_of(client, job)
    assert told["metrics"] == {"rows": ROWS, "answered": ROWS - 52, "unreadable": 52, "doubtful": 0}
    (warning,) = told["warnings"]
    assert (warning["code"], warning["count"]) == ("unreadable_rows", 52)
    assert warning["rows"] == unreadable[:20]


@pytest.mark.usefixtures("model")
def test_a_job_may_refuse_rows_that_cannot_be_read(client: Http, settings: Settings) -> None:
    content = as_csv(numbers(5)) + b"c5,many,1,2\n"
    job = send(client, content, on_error="refuse")
    run_jobs(settings)
    error = job_of(client, job)["error"]
    assert (error["code"], error["category"]) == ("bad_row", "user")
    assert error["message"].startswith("row 5: width: ")
    assert client.get(f"/v1/jobs/{job}/files").json()["data"][0]["name"] == "input"  # for a retry


@pytest.mark.usefixtures("model")
def test_cells_that_spreadsheets_would_run_are_made_harmless_in_the_csv_alone(client: Http, settings: Settings) -> None:
    ids = {"row0": "=1+1", "row1": "-1.5", "row2": '"@SUM(A1)"', "row3": "+41 79", "row4": '"-2,5"', "row5": '"=a"",b"'}
    job = send(client, as_csv(numbers(7), **ids))
    run_jobs(settings)
    assert [row["id"] for row in results(client, job)][:6] == ["=1+1", "-1.5", "@SUM(A1)", "+41 79", "-2,5", '=a",b']
    text = client.get(f"/v1/jobs/{job}/files/results.csv").content.decode()
    cells = [row["id"] for row in csv.DictReader(io.StringIO(text))]
    assert cells == ["'=1+1", "-1.5", "'@SUM(A1)", "'+41 79", "-2,5", "'=a\",b", "c6"]


def interrupted(client: Http, settings: Settings, database: Database, content: bytes, attempts: int) -> str:
    """A job of which each of some attempts ends after a block, and the last one goes on to the end."""
    job = send(client, content, checkpoint_rows=1)
    for _ in range(attempts):
        run_drained(settings, database)
    run_jobs(settings)
    return job


@pytest.mark.usefixtures("model")
def test_the_next_attempt_goes_on_and_the_results_are_the_same_to_the_byte(
    client: Http, settings: Settings, database: Database, services: Services
) -> None:
    lines = as_csv(numbers()).decode().splitlines()
    lines[3], lines[-1] = "c2,many,1,2", f"c{ROWS - 1},many,1,2"
    content = "\n".join(lines).encode()
    undisturbed = send(client, content)
    run_jobs(settings)
    job = interrupted(client, settings, database, content, 2)
    started = [event["data"]["from"] for event in events_of(client, job) if event["type"] == "job.running"]
    assert started == [0, 1024, 2048]
    tables = [client.get(f"/v1/jobs/{one}/files/results.csv").content for one in (undisturbed, job)]
    assert tables[0] == tables[1]
    assert results(client, job) == results(client, undisturbed)
    assert job_of(client, job)["warnings"] == job_of(client, undisturbed)["warnings"]
    assert job_of(client, job)["metrics"] == job_of(client, undisturbed)["metrics"]
    assert client.get(f"/v1/jobs/{job}/checkpoints").json()["data"] == []
    assert [entry.key for entry in services.artifacts.entries() if entry.key.startswith(f"jobs/{job}")] == []


def as_zip(rows: list[list[float]]) -> bytes:
    """The rows in three tables of unequal sizes."""
    head, *lines = as_csv(rows).decode().splitlines(keepends=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part, (start, stop) in enumerate(((0, 7), (7, 1500), (1500, len(lines)))):
            archive.writestr(f"part-{part}.csv", head + "".join(lines[start:stop]))
    return packed.getvalue()


def as_objects(rows: list[list[float]]) -> list[dict[str, Any]]:
    return [{"id": f"c{number}", **dict(zip(COLUMNS, row, strict=True))} for number, row in enumerate(rows)]


OTHER_FORMS: dict[str, Callable[[list[list[float]]], bytes]] = {
    "several tables": as_zip,
    "a list": lambda rows: json.dumps(as_objects(rows)).encode(),
    "a request": lambda rows: json.dumps({"inputs": as_objects(rows)}).encode(),
    "columns": lambda rows: json.dumps(
        {name: [row[name] for row in as_objects(rows)] for name in ("id", *COLUMNS)}, indent=1
    ).encode(),
}


@pytest.mark.parametrize("form", OTHER_FORMS)
@pytest.mark.usefixtures("model")
def test_files_of_other_forms_are_answered_and_go_on_as_a_csv_does(
    client: Http, settings: Settings, database: Database, form: str
) -> None:
    undisturbed = answer(client, settings, as_csv(numbers()))
    job = interrupted(client, settings, database, OTHER_FORMS[form](numbers()), 2)
    started = [event["data"]["from"] for event in events_of(client, job) if event["type"] == "job.running"]
    assert started[0] < started[1] < started[2]
    rows = results(client, job)
    assert [{key: value for key, value in row.items() if key != "file"} for row in rows] == undisturbed
    if form == "several tables":
        assert [row["file"] for row in rows] == ["part-0.csv"] * 7 + ["part-1.csv"] * 1493 + ["part-2.csv"] * 1000
    assert job_of(client, job)["warnings"] == []


@pytest.mark.usefixtures("model")
def test_a_damaged_part_is_answered_again_with_those_behind_it(
    client: Http, settings: Settings, database: Database, services: Services
) -> None:
    content = as_csv(numbers())
    job = send(client, content)
    for _ in range(2):
        run_drained(settings, database)
    (first, _) = sorted(entry.key for entry in services.artifacts.entries() if entry.key.startswith(f"jobs/{job}"))
    path = services.artifacts.fetch(first)
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    run_jobs(settings)
    assert [row["row"] for row in results(client, job)] == list(range(ROWS))
    damaged = [event for event in events_of(client, job) if event["type"] == "checkpoint.damaged"]
    assert len(damaged) == 2


@pytest.mark.usefixtures("model")
def test_a_paused_job_goes_on_when_it_is_resumed(client: Http, settings: Settings, database: Database) -> None:
    job = send(client, as_csv(numbers()))
    assert client.post(f"/v1/jobs/{job}/pause").json()["status"] == "paused"
    assert run_jobs(settings) == 0
    client.post(f"/v1/jobs/{job}/resume")
    run_drained(settings, database)
    client.post(f"/v1/jobs/{job}/cancel")
    run_jobs(settings)
    assert job_of(client, job)["status"] == "cancelled"
    client.post(f"/v1/jobs/{job}/retry")
    run_jobs(settings)
    assert [row["row"] for row in results(client, job)] == list(range(ROWS))


def test_a_job_answers_by_the_version_that_was_meant_when_it_was_accepted(
    client: Http, settings: Settings, services: Services, project_id: str, model: str
) -> None:
    client.put("/v1/models/sizes/aliases/prod", json={"model": model})
    rows = numbers(3)
    before = predicted(client, rows)
    job = send(client, as_csv(rows), model="sizes@prod")
    other = add_model(services, project_id, "sizes", seed=1).id
    client.put("/v1/models/sizes/aliases/prod", json={"model": other})
    check_problem(client.delete("/v1/models/sizes@1"), 409, "in_use")
    run_jobs(settings)
    assert job_of(client, job)["model"] == model
    probabilities = [row["size.probabilities.large"] for row in results(client, job)]
    assert probabilities == pytest.approx([one["probabilities"]["large"] for one in before], abs=1e-6)


@pytest.mark.usefixtures("model")
def test_results_are_downloaded_in_ranges_and_go_with_their_job(
    client: Http, settings: Settings, services: Services
) -> None:
    job = send(client, as_csv(numbers(10)))
    (sent,) = client.get(f"/v1/jobs/{job}/files").json()["data"]
    assert sent["name"] == "input"
    assert client.get("/v1/storage").json()["project"]["job_files"]["bytes"] == sent["bytes"]
    run_jobs(settings)
    files = {file["name"]: file for file in client.get(f"/v1/jobs/{job}/files").json()["data"]}
    assert sorted(files) == ["results.csv", "results.parquet"]
    table = files["results.csv"]
    whole = client.get(table["link"])
    assert whole.headers["content-type"] == "text/csv; charset=utf-8"
    assert whole.headers["etag"] == f'"{table["sha256"]}"'
    assert 'filename="results.csv"' in whole.headers["content-disposition"]
    part = client.get(table["link"], headers={"Range": "bytes=3-9"})
    assert (part.status_code, part.content) == (206, whole.content[3:10])
    assert client.get(table["link"], headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    check_problem(client.get(f"/v1/jobs/{job}/files/manifest.json"), 404, "file_not_found")
    assert client.get("/v1/storage").json()["project"]["job_files"]["count"] == 2
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get("/v1/storage").json()["project"]["job_files"]["count"] == 0
    check_problem(client.get(table["link"]), 404, "job_not_found")


CUSTOMERS = "id,age,city,churn\n" + "".join(
    f"{number},{20 + number % 50},{('Bern', 'Basel')[number % 2]},{('no', 'yes')[number % 3 == 0]}\n"
    for number in range(90)
)


def test_a_dataset_is_answered_by_the_numbers_of_its_rows_in_the_file(client: Http, settings: Settings) -> None:
    """Row 7 has no label and is removed; the results say which rows of the file are not in the dataset, and why."""
    lines = CUSTOMERS.splitlines()
    lines[8] = "7,27,Basel,"
    dataset = upload(client, settings, "\n".join(lines), columns='{"churn": "target"}', unlabelled="remove")
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": [{"kind": "classifier", "target": "churn"}]}
    client.post("/v1/jobs", json={**body, "name": "churn", "training": {"epochs": 1}})
    run_jobs(settings)
    asked = client.post("/v1/jobs", json={"kind": "batch_prediction", "model": "churn", "dataset": dataset})
    assert asked.status_code == 202, asked.text
    file = "\n".join([*(line.rpartition(",")[0] for line in lines), "90,33,Rome"])
    job = client.post("/v1/batch_predictions", files={"file": ("new.csv", file)}, data={"model": "churn"}).json()["id"]
    run_jobs(settings)
    found, of_file = results(client, asked.json()["id"]), results(client, job)
    assert [row["row"] for row in found] == [row for row in range(90) if row != 7]
    assert {row["split"] for row in found} == {"train", "validation", "test"}
    assert [row["id"] for row in found] == [str(row) for row in range(90) if row != 7]
    assert [row["input.churn"] if "input.churn" in row else row["churn"] for row in found[:3]] == ["yes", "no", "no"]
    told = job_of(client, asked.json()["id"])
    assert told["metrics"]["rows_not_in_dataset"] == 1
    assert told["metrics"]["why_not_in_dataset"] == {"missing_target": 1}
    warning = next(warning for warning in told["warnings"] if warning["code"] == "rows_not_in_dataset")
    assert warning["rows"] == [7]
    assert [row["id"] for row in of_file] == [str(number) for number in range(91)]
    for row in found[::10]:
        of_row = of_file[row["row"]]
        assert row["churn.probabilities.yes"] == pytest.approx(of_row["churn.probabilities.yes"], abs=1e-6)
    assert of_file[90]["warnings"][0].startswith("unknown_category: 'city'")
    (unknown,) = [warning for warning in job_of(client, job)["warnings"] if warning["code"] == "unknown_category"]
    assert (unknown["count"], unknown["rows"]) == (1, [90])


@pytest.mark.usefixtures("model")
def test_rows_that_lack_a_value_are_answered_and_told(client: Http, settings: Settings) -> None:
    rows: list[list[Any]] = [[1.0, 2.0, 3.0], [1.0, "", 3.0]]
    job = send(client, as_csv(rows))
    run_jobs(settings)
    whole, lacking = results(client, job)
    assert whole["warnings"] is None
    assert lacking["error"] is None
    assert lacking["size.class"] is not None
    assert lacking["warnings"][0].startswith(f"missing_value: {COLUMNS[1]!r} (no training row lacked it")
    (told,) = [warning for warning in job_of(client, job)["warnings"] if warning["code"] == "missing_value"]
    assert (told["count"], told["rows"]) == (1, [1])


def test_pictures_of_a_zip_are_rows_with_the_names_of_their_files(
    client: Http, settings: Settings, services: Services, project_id: str
) -> None:
    add_bundle(services, project_id, "pictures", make_image_bundle(8, 8))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(20):
            archive.writestr(f"some/{number:02}.png", picture(number) if number != 4 else b"\x89PNG\r\n\x1a\nbroken")
        archive.writestr("labels.csv", "file,label\n")
    job = send(client, packed.getvalue(), "pictures.zip", model="pictures", outputs="embeddings")
    run_jobs(settings)
    found = results(client, job)
    assert [row["file"] for row in found] == [f"some/{number:02}.png" for number in range(20)]
    assert [row["row"] for row in found if row["embedding"] is None] == [4]
    body = {"inputs": [np.full((8, 8), 10).tolist()]}
    (embedding,) = client.post("/v1/models/pictures/embeddings", json=body).json()["embeddings"]
    assert np.allclose(found[10]["embedding"], embedding, atol=1e-6)
    assert {warning["code"] for warning in job_of(client, job)["warnings"]} == {"unreadable_rows", "files_not_read"}


def picture(level: int) -> bytes:
    from PIL import Image  # noqa: PLC0415 - for pictures alone

    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


REFUSED = [
    ({"model": "nobody"}, b"width,height,depth\n1,2,3\n", 404, "model_not_found"),
    ({"outputs": '["answers"]'}, b"width,height,depth\n1,2,3\n", 422, "invalid_request"),
    ({"on_error": "ignore"}, b"width,height,depth\n1,2,3\n", 422, "invalid_request"),
    ({"split": "test"}, b"width,height,depth\n1,2,3\n", 422, "invalid_request"),
    ({}, b"", 422, "empty_dataset"),
    ({}, b"\x1f\x8b\x08\x00" + bytes(range(20)), 415, "unsupported_format"),
]


@pytest.mark.usefixtures("model")
def test_what_no_job_could_answer_is_refused_before_it_is_stored(client: Http, services: Services) -> None:
    before = [entry.key for entry in services.artifacts.entries()]
    for fields, content, status, code in REFUSED:
        sent = client.post(
            "/v1/batch_predictions", files={"file": ("a.csv", content)}, data={"model": "sizes", **fields}
        )
        check_problem(sent, status, code)
    assert [entry.key for entry in services.artifacts.entries()] == before
    assert client.get("/v1/jobs").json()["data"] == []


def test_a_backbone_answers_embeddings_alone(client: Http, services: Services, project_id: str) -> None:
    add_model(services, project_id, "backbone", heads=False)
    sent = client.post("/v1/batch_predictions", files={"file": ("a.csv", b"width\n1\n")}, data={"model": "backbone"})
    check_problem(sent, 409, "model_has_no_heads")
    send(client, as_csv(numbers(1)), model="backbone", outputs="embeddings")


@pytest.mark.usefixtures("model")
def test_a_file_without_a_column_of_the_model_is_refused_in_words(client: Http, settings: Settings) -> None:
    job = send(client, b"id,width,height\n1,2,3\n")
    run_jobs(settings)
    error = job_of(client, job)["error"]
    assert error["code"] == "unknown_column"
    assert (
        error["message"]
        == "the file lacks columns that the model needs: 'depth'; its columns are 'id', 'width', 'height'"
    )


REVIEWS = "id,review,label\n" + "".join(
    f'r{number},"{("Good,", "Bad,")[number % 2]} number {number}",{("yes", "no")[number % 2]}\n' for number in range(40)
)
LOADS = "".join(
    json.dumps({"id": number, "load": [number % 7, number % 3, 5, number % 2], "label": ("a", "b")[number % 2]}) + "\n"
    for number in range(40)
)


@pytest.mark.parametrize(
    ("content", "media_type", "options"),
    [
        (REVIEWS, "text/csv", {"columns": '{"review": "input", "label": "target"}', "modality": "text"}),
        (LOADS, "application/x-ndjson", {"columns": '{"label": "target"}', "modality": "series"}),
    ],
    ids=["texts", "series"],
)
def test_the_training_file_is_answered_as_a_request_and_as_a_dataset(
    client: Http, settings: Settings, content: str, media_type: str, options: dict[str, str]
) -> None:
    dataset = upload(client, settings, content, **options)
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": [{"kind": "classifier", "target": "label"}]}
    client.post("/v1/jobs", json={**body, "name": "trained", "training": {"epochs": 1}})
    run_jobs(settings)
    asked = client.post("/v1/jobs", json={"kind": "batch_prediction", "model": "trained", "dataset": dataset}).json()
    job = send(client, content.encode(), "rows", model="trained")
    run_jobs(settings)
    request = client.post("/v1/models/trained/predictions", content=content, headers={"Content-Type": media_type})
    answers = [prediction["label"]["probabilities"] for prediction in request.json()["predictions"]]
    of_file, of_dataset = results(client, job), results(client, asked["id"])
    assert len(of_file) == len(of_dataset) == len(answers) == 40
    for found in (of_file, of_dataset):
        assert [str(row["id"]).removeprefix("r") for row in found] == [str(number) for number in range(40)]
        assert {row["error"] for row in found} == {None}
        for name in answers[0]:
            given = [row[f"label.probabilities.{name}"] for row in found]
            assert given == pytest.approx([one[name] for one in answers], abs=1e-5)


def test_series_in_long_form_are_answered_once_each_as_whole_series_are(
    client: Http, settings: Settings, database: Database
) -> None:
    """Lines of all series stand among each other, the last step first; a job that goes on answers the same."""
    series = {f"p{number}": [number % 7, number % 3, 5, number % 2][: 2 + number % 3] for number in range(40)}
    steps = [(name, time, load) for name, loads in series.items() for time, load in enumerate(loads)]
    shuffled = sorted(steps, key=lambda step: (-step[1], step[0]))
    content = "patient,t,load,label\n" + "".join(
        f"{name},{time},{load},{'ab'[int(name[1:]) % 2]}\n" for name, time, load in shuffled
    )
    options = {"series": '{"id": "patient", "time": "t"}', "columns": '{"label": "target"}'}
    dataset = upload(client, settings, content, **options)
    body = {"kind": "fine_tuning", "dataset": dataset, "heads": [{"kind": "classifier", "target": "label"}]}
    client.post("/v1/jobs", json={**body, "name": "trained", "training": {"epochs": 1}})
    run_jobs(settings)
    file = "patient,t,load\n" + "".join(f"{name},{time},{load}\n" for name, time, load in shuffled)
    file += "".join(f"far,{time},1\n" for time in range(9))
    file += "".join(f"longer,{time},{load}\n" for time, load in enumerate([3, 1, 5, 0, 9]))
    job = send(client, file.encode(), model="trained", checkpoint_rows=1)
    run_drained(settings, database)
    run_jobs(settings)
    rows = {row["patient"]: row for row in results(client, job)}
    assert len(rows) == job_of(client, job)["metrics"]["rows"] == 42
    assert rows.pop("far")["error"] == "the series has 9 steps; the model takes at most 8"
    request = client.post("/v1/models/trained/predictions", json={"inputs": [*series.values(), [3, 1, 5, 0, 9]]}).json()
    assert [warning["code"] for warning in request["warnings"]] == ["series_truncated"]
    assert "series_truncated" in {warning["code"] for warning in job_of(client, job)["warnings"]}
    *of_series, longer = (answer["label"]["probabilities"]["a"] for answer in request["predictions"])
    assert rows.pop("longer")["label.probabilities.a"] == pytest.approx(longer, abs=1e-5)
    assert [rows[name]["label.probabilities.a"] for name in series] == pytest.approx(of_series, abs=1e-5)
    decided = [
        event["data"]["field"] for event in events_of(client, job) if event["type"] == "batch_prediction.decided"
    ]
    assert decided == ["series"]
    whole = "".join(f'{{"patient": "{name}", "load": {loads}}}\n' for name, loads in series.items())
    of_whole = answer(client, settings, whole.encode(), model="trained")
    given = [row["label.probabilities.a"] for row in of_whole]
    assert given == pytest.approx(of_series, abs=1e-5)
