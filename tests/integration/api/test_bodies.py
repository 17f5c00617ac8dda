"""Rows to predict in every form that people have them in."""

import base64
import datetime as dt
import decimal
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from app.db.tables import ModelRow
from app.dependencies import Services
from app.predictions.schemas import MAX_INPUTS
from tests.support.answers import flat
from tests.support.http import Http
from tests.support.models import add_bundle, add_model, make_bundle, make_image_bundle
from tests.support.problems import check_problem

pytestmark = pytest.mark.one_database("sqlite")  # no database answers a prediction

ROWS = [{"width": 1.5, "height": -2.0, "depth": 0.5}, {"width": 3.0, "height": 4.0, "depth": -5.0}]


@pytest.fixture
def model(services: Services, project_id: str) -> ModelRow:
    return add_model(services, project_id, "sizes")


Send = Callable[..., Any]


@pytest.fixture
def send(client: Http, model: ModelRow) -> Send:
    """Ask the model with a body of some form."""

    def run(content: bytes, content_type: str, what: str = "predictions", query: str = "") -> Any:
        headers = {"content-type": content_type}
        return client.post(f"/v1/models/{model.id}/{what}{query}", content=content, headers=headers)

    return run


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def csv_of(delimiter: str = ",", rows: list[dict[str, Any]] = ROWS) -> bytes:
    return "\r\n".join(delimiter.join(map(str, line)) for line in ([*rows[0]], *(r.values() for r in rows))).encode()


SHOWN = [{"row": 7, "split": "test", "input": row, "targets": {"size": "large"}} for row in ROWS]
BODIES: list[tuple[str, bytes]] = [
    ("application/json", json.dumps({"inputs": SHOWN}).encode()),
    ("application/vnd.api+json", json.dumps({"inputs": ROWS}).encode()),
    ("text/csv", csv_of()),
    ("text/csv; charset=utf-8", b"\xef\xbb\xbf" + csv_of(";")),
    ("text/csv", b"sep=;\n" + csv_of(";")),
    ("application/csv", csv_of()),
    ("text/csv", b"Sizes of 2020,,\n" + csv_of()),
    ("text/csv", b"# made, by hand\n" + csv_of("^")),
    ("text/csv", b"# made, by hand\n" + csv_of()),
    ("text/csv", b"width  height   depth\n1.5 -2.0    0.5\n 3.0  4.0   -5.0\n"),
    ("text/csv", b"width;height;depth\n0,15E+1;-2,0;0,5\n3,0;0,4E1;-5,0\n"),
    ("text/csv", b"sep=~\n" + csv_of("~")),
    ("text/csv", csv_of().replace(b"\r\n", b",\r\n") + b","),
    ("text/csv", b"width;height;depth\n1,5;-2,0;0,5\n3,0;4,0;-5,0\n"),
    ("text/csv", b'"width", "height", "depth"\n"1.5", "-2.0", "0.5"\n"3.0", "4.0", "-5.0"\n'),
    ("application/ndjson", b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(row).encode() for row in ROWS)),
    ("text/tab-separated-values", csv_of("\t") + b"\n\n"),
    ("application/x-ndjson", b"\n\n".join(json.dumps(row).encode() for row in ROWS)),
    ("application/x-ndjson", b"\n".join(json.dumps(row).encode() for row in SHOWN)),
    ("application/vnd.apache.parquet", parquet_of(ROWS)),
    ("application/octet-stream", parquet_of(ROWS)),
    ("application/x-npy", npy([[*row.values()] for row in ROWS])),
    ("application/x-npy", npy(np.array([[*row.values()] for row in ROWS], np.float32))),
]


def test_every_form_is_answered_alike(client: Http, send: Send, model: ModelRow) -> None:
    expected = {
        what: client.post(f"/v1/models/{model.id}/{what}", json={"inputs": ROWS}).json()[what]
        for what in ("predictions", "embeddings")
    }
    for content_type, content in BODIES:
        for what, answers in expected.items():
            answer = send(content, content_type, what)
            assert answer.status_code == 200, (content_type, answer.text)
            assert answer.json()[what] == answers
            assert answer.json()["warnings"] == []


def test_times_and_spans_of_parquet_are_seconds_as_in_training(client: Http, send: Send, model: ModelRow) -> None:
    rows = [{"width": dt.time(0, 1, 30), "height": dt.timedelta(milliseconds=-2500), "depth": decimal.Decimal("0.5")}]
    answer = send(parquet_of(rows), PARQUET)
    plain = [{"width": 90, "height": -2.5, "depth": 0.5}]
    expected = client.post(f"/v1/models/{model.id}/predictions", json={"inputs": plain}).json()
    assert answer.json()["predictions"] == expected["predictions"]


def test_a_picture_is_an_input_by_itself_and_in_a_form(client: Http, services: Services, project_id: str) -> None:
    add_bundle(services, project_id, "shades", make_image_bundle(height=2, width=3))
    url, pixels = "/v1/models/shades/embeddings", np.arange(0, 60, 10, dtype=np.uint8).reshape(2, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    png = buffer.getvalue()
    expected = client.post(url, json={"inputs": [pixels.tolist()]}).json()["embeddings"]
    for content_type in ("image/png", "image/jpg", "application/octet-stream"):
        assert client.post(url, content=png, headers={"content-type": content_type}).json()["embeddings"] == expected
    assert client.post(url, json={"inputs": base64.b64encode(png).decode()}).json()["embeddings"] == expected
    assert client.post(url, content=npy(pixels[None]), headers={"content-type": NPY}).json()["embeddings"] == expected
    nested = parquet_of([{"image": {"bytes": png, "path": "a.png"}, "label": 1}])
    assert client.post(url, content=nested, headers={"content-type": PARQUET}).json()["embeddings"] == expected
    both = [("file", ("a.png", png, "image/png")), ("file", ("b.jpg", png, "image/jpeg"))]
    assert client.post(url, files=both).json()["embeddings"] == pytest.approx(np.array(expected * 2))
    damaged = client.post(url, content=png[:40], headers={"content-type": "image/png"})
    assert check_problem(damaged, 422)["errors"][0]["loc"] == ["inputs", 0]  # type: ignore[index]


def test_files_of_a_form_are_read_in_order(client: Http, model: ModelRow) -> None:
    url = f"/v1/models/{model.id}/predictions"
    files = [
        ("file", ("a.csv", csv_of(rows=ROWS[:1]), "application/vnd.ms-excel")),
        ("file", ("b.jsonl", json.dumps(ROWS[1]).encode(), "application/octet-stream")),
    ]
    expected = client.post(url, json={"inputs": ROWS}).json()["predictions"]
    assert client.post(url, files=files).json()["predictions"] == expected
    more = csv_of(rows=[{**ROWS[0], "hue": 1}])
    refusal = client.post(url, files={"file": ("a.csv", more, "text/csv")}, data={"unknown": "refuse"})
    assert check_problem(refusal, 422)["errors"][0]["loc"] == ["inputs", 0, "hue"]  # type: ignore[index]
    check_problem(client.post(url, files={"file": ("a.csv", more, "text/csv")}, data={"k": "1"}), 422)


PARQUET, NPY, CSV, LINES = "application/vnd.apache.parquet", "application/x-npy", "text/csv", "application/x-ndjson"
BAD: list[tuple[str, bytes, str]] = [
    (CSV, b"", "no rows"),
    (CSV, b"width,height,depth\n", "no rows"),
    (CSV, b"width,height,depth\n1,2,3\n1,2\n", "row 1 has 2 fields"),
    (CSV, b"width,width,depth\n1,2,3\n", "same name"),
    (CSV, b'width,height,depth\n1,"2,3\n', "line 2"),
    (CSV, "width,height,h\u00f6he\n1,2,3".encode("latin-1"), "UTF-8"),
    (CSV, b"width,height,depth\n" + b"1,2,3\n" * (MAX_INPUTS + 1), f"more than {MAX_INPUTS}"),
    (LINES, b'{"width": 1}\n{"width"\n', "line 2"),
    (LINES, b"\n", "no rows"),
    (PARQUET, b"PAR1 and nothing else PAR1", "no Parquet"),
    (PARQUET, parquet_of(ROWS[:1] * (MAX_INPUTS + 1)), f"more than {MAX_INPUTS}"),
    (NPY, npy([[1.0]])[:-1], "promises 8 bytes and 7 follow"),
    (NPY, npy(np.zeros(3, dtype=[("a", "f8")])), "array body"),
    (NPY, npy(np.float64(3)), "no rows"),
    (NPY, b"\x93NUMPY\x01\x00", "array body"),
    (NPY, npy(np.zeros((0, 3))), "no rows"),
    (NPY, npy([[1.0]]).replace(b"(1, 1), }          ", b"(99999999, 999999),}"), "promises"),
]


def test_what_is_none_of_its_form_is_refused_in_words(send: Send) -> None:
    for content_type, content, words in BAD:
        problem = check_problem(send(content, content_type), 422, "invalid_body")
        assert words in str(problem["detail"])
        assert problem["errors"][0]["loc"] == ["body"]  # type: ignore[index]


def test_another_content_type_is_refused_with_those_that_are_read(client: Http, send: Send) -> None:
    for content_type in ("text/html", "application/x-www-form-urlencoded", "nonsense"):
        problem = check_problem(send(b"{}", content_type), 415, "unsupported_media_type")
        assert "application/json, text/csv" in str(problem["detail"])


def test_every_form_is_documented_and_limited(client: Http, services: Services, send: Send) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/v1/models/{ref}/predictions"]["post"]["requestBody"]
    assert set(body["content"]) == {"application/json", "multipart/form-data", "application/octet-stream"}
    described = body["content"]["application/octet-stream"]
    assert {"image/png", CSV, PARQUET, LINES, NPY} <= set(described["x-content"])
    assert all(content_type in described["schema"]["description"] for content_type in described["x-content"])
    big = b"x" * (services.settings.max_json_bytes + 1)
    for content_type in (CSV, NPY, "image/png"):
        check_problem(send(big, content_type), 413, "too_large")


def test_the_example_of_a_signature_is_answered_as_it_is(client: Http, services: Services, project_id: str) -> None:
    add_model(services, project_id, "sizes")
    add_bundle(services, project_id, "shades", make_image_bundle(height=2, width=3, channels=3))
    for name in ("sizes", "shades"):
        signature = client.get(f"/v1/models/{name}").json()["signature"]
        answer = client.post(f"/v1/models/{name}/embeddings", json=signature["example"])
        assert (answer.status_code, answer.json()["warnings"]) == (200, [])
    assert signature["image"]["channels"] == 3
    assert [model["signature"] for model in client.get("/v1/models?view=full").json()["data"]] == [None, None]


def test_a_version_that_takes_other_inputs_warns(client: Http, services: Services, project_id: str) -> None:
    for size in (3, 3, 4):
        add_bundle(services, project_id, "shades", make_image_bundle(height=2, width=size))
    models = {model["version"]: model for model in client.get("/v1/models").json()["data"]}
    assert [models[version]["warnings"] for version in (1, 2)] == [[], []]
    (warning,) = models[3]["warnings"]
    assert warning["code"] == "signature_changed"
    assert "another size" in warning["message"]


def test_rows_without_the_object_around_them_are_told_where_to_stand(client: Http, model: ModelRow) -> None:
    for body in (ROWS, ROWS[0], "a text"):
        problem = check_problem(client.post(f"/v1/models/{model.id}/predictions", json=body), 422, "invalid_body")
        assert problem["detail"] == 'body: put what is asked under the key "inputs": {"inputs": [...]}'
    for body in ({}, {"instances": ROWS}, {"unknown": "refuse"}):
        problem = check_problem(client.post(f"/v1/models/{model.id}/predictions", json=body), 422, "invalid_request")
        assert problem["errors"][0]["loc"] == ["body", "inputs"]  # type: ignore[index]


def test_a_json_file_of_a_form_is_read_too(client: Http, model: ModelRow) -> None:
    url = f"/v1/models/{model.id}/predictions"
    expected = client.post(url, json={"inputs": ROWS}).json()["predictions"]
    for document in (ROWS, {"inputs": ROWS}, {"inputs": SHOWN}):
        for name, content_type in (("a.json", "application/json"), ("a.json", "application/octet-stream")):
            files = {"file": (name, json.dumps(document).encode(), content_type)}
            assert client.post(url, files=files).json()["predictions"] == expected
    one = client.post(url, files={"file": ("a.json", json.dumps(ROWS[0]).encode(), "application/json")})
    assert flat(one.json()["predictions"]) == pytest.approx(flat(expected[:1]), rel=1e-6), "one row is computed alone"
    bad = client.post(url, files={"file": ("a.json", b'{"width": NaN}', "application/json")})
    assert "NaN is not JSON" in str(check_problem(bad, 422, "invalid_body")["detail"])


def test_a_version_that_answers_other_things_warns(client: Http, services: Services, project_id: str) -> None:
    def version(*classes: str) -> ModelRow:
        return add_bundle(services, project_id, "answers", make_bundle(classes=classes, heads=bool(classes)))

    assert version().warnings == []
    assert version("large", "small").warnings == []
    assert version("large", "small").warnings == []
    (changed,) = version("large", "tiny").warnings
    assert changed["code"] == "signature_changed"
    assert "'size' lost 1 classes, such as 'small'; 'size' has 1 new classes, such as 'tiny'" in changed["message"]
    (lost,) = version().warnings
    assert "'size' is answered no more" in lost["message"]
