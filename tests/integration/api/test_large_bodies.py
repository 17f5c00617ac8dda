"""Large bodies are read block by block; those that would take more memory than there is are refused before that."""

import gc
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from fastapi import FastAPI
from pyarrow import parquet

from app.dependencies import Services
from app.predictions.bodies.lazy_rows import LazyRows
from app.security import StrictRequest
from app.settings import Settings
from tests.support.http import Http
from tests.support.live import served
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.servers import wait_until

URL = "/v1/models/sizes/predictions"
JSON = {"content-type": "application/json"}
MAX_BYTES = 1 << 20


@pytest.fixture
def settings(data_folder: Path, migrated: Path) -> Settings:
    """SQLite alone: no database reads bodies."""
    data_folder.mkdir()
    shutil.copy(migrated, data_folder / "graftwork.db")
    return Settings(data=data_folder, max_json_bytes=MAX_BYTES)


@pytest.fixture(autouse=True)
def model(services: Services, project_id: str) -> None:
    add_model(services, project_id, "sizes")


def large(rows: list[Any], **fields: Any) -> bytes:
    """A body of over 256 KiB with these rows."""
    body = json.dumps({"inputs": rows, **fields})
    return body.encode() + b" " * ((1 << 18) + 1)


def test_a_large_body_is_answered_as_its_rows_are(client: Http) -> None:
    rows = [[number, number % 7, -number] for number in range(3000)]
    answer = client.post(URL, content=large(rows), headers=JSON)
    assert answer.status_code == 200, answer.text
    small = [client.post(URL, json={"inputs": rows[start : start + 1000]}).json() for start in (0, 1000, 2000)]
    assert answer.json()["predictions"] == [row for part in small for row in part["predictions"]]


def test_rows_keep_their_numbers_in_errors_and_warnings(client: Http) -> None:
    rows: list[Any] = [{"width": 1, "height": 2, "depth": 3} for _ in range(1000)]
    rows[900] = {"width": 1, "height": 2, "depth": 3, "else": 1}
    answer = client.post(URL, content=large(rows), headers=JSON).json()
    assert [warning["rows"] for warning in answer["warnings"]] == [[900]]
    problem = check_problem(client.post(URL, content=large(rows, unknown="refuse"), headers=JSON), 422)
    assert problem["errors"][0]["loc"] == ["inputs", 900, "else"]  # type: ignore[index]
    rows[901] = [1, 2]
    problem = check_problem(client.post(URL, content=large(rows), headers=JSON), 422, "invalid_input")
    assert problem["errors"][0]["loc"] == ["inputs", 901]  # type: ignore[index]
    body = large(rows[:900]).replace(b"]}", b", [1, 2, tru]]}")
    problem = check_problem(client.post(URL, content=body, headers=JSON), 422, "invalid_body")
    assert problem["errors"][0]["row"] == 900  # type: ignore[index]


def test_what_is_around_the_rows_is_read_strictly(client: Http) -> None:
    body = large([[1, 2, 3]], unknown="maybe")
    problem = check_problem(client.post(URL, content=body, headers=JSON), 422)
    assert problem["errors"][0]["loc"] == ["body", "unknown"]  # type: ignore[index]
    twice = large([[1, 2, 3]]).replace(b"{", b'{"inputs": [[1, 2, 3]], ', 1)
    assert "twice" in str(check_problem(client.post(URL, content=twice, headers=JSON), 422)["detail"])
    deep = b'{"inputs": [' + b"[" * 70 + b"]" * 70 + b"]}" + b" " * (1 << 18)
    assert "deeper" in str(check_problem(client.post(URL, content=deep, headers=JSON), 422)["detail"])
    many = large([1] * 5000)
    assert "4096" in str(check_problem(client.post(URL, content=many, headers=JSON), 422)["detail"])


def filled(begin: str, item: str, end: str) -> bytes:
    count = (MAX_BYTES - 100) // (len(item.encode()) + 1)
    return (begin + ",".join([item] * count) + end).encode()


def dictionary_bomb() -> bytes:
    """4,096 rows of one text, which the file holds once."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 4096, pa.int32()), pa.array(["x" * 200_000]))
    file = io.BytesIO()
    parquet.write_table(pa.table({"text": text}), file)
    return file.getvalue()


def many_files() -> bytes:
    part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.csv"\r\n\r\na\r\n'
    return part * 4097 + b"--x--\r\n"


CSV, LINES, PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"
COSTLY: dict[str, tuple[str, bytes, set[int]]] = {
    "objects": ("application/json", filled('{"inputs":[[', "{}", "]]}"), {413}),
    "lists": ("application/json", filled('{"inputs":[[', "[]", "]]}"), {413}),
    "texts": ("application/json", filled('{"inputs":[[', '"ab"', "]]}"), {413}),
    "members": ("application/json", filled('{"inputs":[[', '{"a":1}', "]]}"), {413}),
    "numbers": ("application/json", filled('{"inputs":[[', "1", "]]}"), {413}),
    "escapes": ("application/json", filled('{"inputs":[[', r'"\u00e9"', "]]}"), {413}),
    "rows": ("application/json", filled('{"inputs":[', "{}", "]}"), {422}),
    "not inputs": ("application/json", filled('{"rows":[', "{}", "]}"), {413}),
    "no object": ("application/json", filled("[", "{}", "]"), {413}),
    "nesting": ("application/json", b'{"inputs":' + b"[" * 500_000, {422}),
    "open": ("application/json", b'{"inputs":[[' + b"{}," * 300_000, {413}),
    "digits": ("application/json", b'{"inputs":[[' + b"9" * 1_000_000 + b"]]}", {422}),
    "keys": ("application/json", filled('{"inputs":[{"k":1}],', '"k":1', "}"), {413}),
    "cells": (CSV, ("a,b\n" + "1," * 500_000).encode(), {413}),
    "names": (CSV, (",".join(map(str, range(150_000))) + "\n1\n").encode(), {413}),
    "lines": (LINES, b"{}\n" * 340_000, {413, 422}),
    "line": (LINES, filled("[", "{}", "]"), {413}),
    "dictionary": (PARQUET, dictionary_bomb(), {413}),
    "damaged": (PARQUET, b"PAR1" + b"\xff" * 1000 + b"PAR1", {422}),
    "files": ("multipart/form-data; boundary=x", many_files(), {400, 413, 422}),
}


OPERATIONS = [("predictions", kind) for kind in COSTLY] + [("generations", "objects"), ("embeddings", "cells")]


@pytest.mark.parametrize(("operation", "kind"), OPERATIONS)
def test_costly_bodies_are_refused(client: Http, kind: str, operation: str) -> None:
    content_type, body, statuses = COSTLY[kind]
    answer = client.post(f"/v1/models/sizes/{operation}", content=body, headers={"content-type": content_type})
    assert answer.status_code in statuses, answer.text
    assert client.app.state.services.shares.memory.held == 0


def test_a_packed_body_is_refused_unread(client: Http) -> None:
    for encoding in ("gzip", "br", "deflate", "zstd"):
        answer = client.post(URL, content=b"x" * 100, headers={**JSON, "content-encoding": encoding})
        check_problem(answer, 415)


def test_small_documents_are_bounded_too(client: Http) -> None:
    """A job's request of a million values is refused before pydantic says of each what is wrong with it."""
    body = filled('{"kind":"pretraining","dataset":"x","augmentations":[', "{}", "]}")
    check_problem(client.post("/v1/jobs", content=body, headers=JSON), 413, "too_many_values")


def test_a_large_picture_in_a_body_is_taken(client: Http) -> None:
    """Of text there may be as much as a body may hold: it is copied, not multiplied."""
    text = "x" * (MAX_BYTES - 100)
    check_problem(client.post(URL, json={"inputs": [text]}), 422, "invalid_input")


def test_arrays_are_taken_up_to_the_limit(client: Http) -> None:
    file = io.BytesIO()
    np.save(file, np.ones((4096, 3)))
    answer = client.post(URL, content=file.getvalue(), headers={"content-type": "application/x-npy"})
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 4096


def as_csv(rows: list[list[float]]) -> bytes:
    return "\n".join(["width,height,depth,rest", *(",".join(map(str, [*row, "x" * 80])) for row in rows)]).encode()


def as_lines(rows: list[list[float]]) -> bytes:
    return "\n".join(json.dumps(row) + " " * 70 for row in rows).encode()


def as_parquet(rows: list[list[float]]) -> bytes:
    file = io.BytesIO()
    columns = dict(zip(("width", "height", "depth"), np.array(rows).T, strict=True))
    rest = [np.random.default_rng(row).bytes(40).hex() for row in range(len(rows))]
    parquet.write_table(pa.table({**columns, "rest": rest}), file)
    return file.getvalue()


FORMS = {CSV: as_csv, LINES: as_lines, PARQUET: as_parquet}


@pytest.mark.parametrize("content_type", FORMS)
def test_large_bodies_of_other_forms_are_answered_as_json_is(client: Http, content_type: str) -> None:
    rows = np.random.default_rng(0).normal(size=(4096, 3)).round(4).tolist()
    body = FORMS[content_type](rows)
    assert len(body) > 1 << 18
    memory, held = client.app.state.services.shares.memory, list[int]()
    take = memory.take
    memory.take = lambda project, count: take(project, count) and not held.append(memory.held)
    answer = client.post(URL, content=body, headers={"content-type": content_type})
    assert answer.status_code == 200, answer.text[:500]
    of_json = client.post(URL, json={"inputs": rows}).json()
    assert answer.json()["predictions"] == of_json["predictions"]
    files = [("file", ("a", body, content_type)), ("file", ("b.json", b"[[1, 2, 3]]", "application/json"))]
    refused = check_problem(client.post(URL, files=files), 422, "invalid_body")
    assert "4096 rows" in str(refused["detail"])
    assert memory.held == 0


def test_errors_in_large_bodies_name_their_row_and_column(client: Http) -> None:
    rows: list[Any] = [[1, 2, 3] for _ in range(4000)]
    rows[3000][1] = "many"
    for content_type, content in ((CSV, as_csv(rows)), (LINES, as_lines(rows))):
        problem = check_problem(client.post(URL, content=content, headers={"content-type": content_type}), 422)
        assert problem["errors"][0]["loc"][:2] == ["inputs", 3000]  # type: ignore[index]
    broken = as_lines(rows[:3000]) + b"\n[1, 2, tru]"
    problem = check_problem(client.post(URL, content=broken, headers={"content-type": LINES}), 422, "invalid_body")
    assert problem["errors"][0]["row"] == 3000  # type: ignore[index]
    assert "line 3001: " in str(problem["detail"])


def test_many_cells_are_answered_in_little_memory(client: Http) -> None:
    """As objects they would take ten times the body, which was more than a request may hold."""
    names = ["width", "height", "depth", *(f"other{place}" for place in range(97))]
    rows = (",".join(f"0.{row % 7}" for _ in names) for row in range(1500))
    content = "\n".join([",".join(names), *rows])
    assert content.count(",") > 140_000
    answer = client.post(URL, content=content.encode(), headers={"content-type": CSV})
    assert answer.status_code == 200, answer.text[:500]
    assert len(answer.json()["predictions"]) == 1500


ENDED = {
    "sound": (URL, JSON, large([[1, 2, 3]] * 2000)),
    "wrong": (URL, JSON, large([[1, 2]] * 2000)),
    "no JSON": (URL, JSON, b'{"inputs": [' + b"[1, 2, 3]," * 40_000),
    "embeddings": ("/v1/models/sizes/embeddings", JSON, large([[1, 2, 3]] * 2000)),
    "several models": ("/v1/predictions?models=sizes", JSON, large([[1, 2, 3]] * 2000)),
    "lines": (URL, {"content-type": "application/x-ndjson"}, b"[1,2,3]\n" * 4000),
    "cells": (URL, {"content-type": "text/csv"}, b"width,height,depth\n" + b"1,2,3\n" * 4000),
    "late": (f"{URL}?timeout=0.0001", JSON, large([[1, 2, 3]] * 2000)),
    "tensors": (
        "/v2/models/sizes/infer",
        JSON,
        json.dumps(
            {"inputs": [{"name": "inputs", "datatype": "FP64", "shape": [4000, 3], "data": [1, 2, 3] * 4000}]}
        ).encode(),
    ),
}


@pytest.mark.parametrize("kind", ENDED)
def test_a_body_is_let_go_of_with_its_answer(app: FastAPI, key: str, collects: ModuleType, kind: str) -> None:
    """Its memory is given back then: nothing may keep it, though the connection stays open."""
    path, headers, content = ENDED[kind]
    collects.disable()  # what only the collector finds may wait for it for long
    with served(app) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        for _ in range(2):
            answer = client.post(path, content=content, headers={**headers, "authorization": f"Bearer {key}"})
            assert answer.status_code in (200, 413, 422, 504), answer.text
        del answer
        wait_until(lambda: not bodies_alive(), "nothing holds a request or its rows")


@pytest.fixture
def collects() -> Iterator[ModuleType]:
    """The collector of garbage, which is enabled again."""
    gc.collect()
    yield gc
    gc.enable()


def bodies_alive() -> list[Any]:
    """What holds bodies."""
    return [each for each in gc.get_objects() if isinstance(each, StrictRequest | LazyRows)]
