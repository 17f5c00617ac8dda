"""Raw arrays and `.npy` as bodies and as answers."""

import io
import json
from typing import Any

import numpy as np
import pytest

from app.db.tables import ModelRow
from app.dependencies import Services
from tests.integration.api.test_short_way import bundle_of
from tests.support import tiny
from tests.support.http import Http
from tests.support.models import CLASSES, add_bundle, add_model, make_bundle, make_image_bundle
from tests.support.problems import check_problem

pytestmark = pytest.mark.one_database("sqlite")  # no database answers a prediction

NPY, RAW, JSON = "application/x-npy", "application/octet-stream", "application/json"
ROWS = np.array([[1.5, -2.0, 0.5], [3.0, 4.0, -5.0]])


@pytest.fixture
def model(services: Services, project_id: str) -> ModelRow:
    return add_model(services, project_id, "sizes")


@pytest.fixture
def several(services: Services, project_id: str) -> ModelRow:
    """A table model with a classifier of the head `label` and a regressor of `size`."""
    return add_bundle(services, project_id, "several", bundle_of("table"))


def post(client: Http, content: bytes, content_type: str, what: str = "sizes/predictions", **headers: str) -> Any:
    return client.post(f"/v1/models/{what}", content=content, headers={"content-type": content_type, **headers})


def described(answer: Any) -> dict[str, Any]:
    return dict(json.loads(answer.headers["graftwork-answer"]))


@pytest.mark.parametrize(
    ("array", "parameters"),
    [
        (ROWS.astype("<f4"), "dtype=float32; shape=2,3"),
        (ROWS.astype("<f4"), 'dtype="float32"; shape="2, 3"'),
        (ROWS.astype("<f4"), "DTYPE=FP32; Shape=[2,3]"),
        (ROWS.astype("<f4"), "dtype=f4; shape=(2,3)"),
        (ROWS.astype("<f4"), "dtype=<f4; shape=-1,3"),
        (ROWS.astype(">f4"), "dtype=>f4; shape=2x3"),
        (ROWS.astype(">f8"), "dtype=float64; byteorder=big; shape=2,3"),
        (ROWS.astype("<f8"), "dtype=double; byteorder=little; shape=2,-1"),
        (ROWS.astype("<f2"), "dtype=float16; shape=2,3"),
    ],
)
def test_a_raw_array_is_read_as_its_content_type_says(
    client: Http, model: ModelRow, array: Any, parameters: str
) -> None:
    expected = client.post("/v1/models/sizes/predictions", json={"inputs": ROWS.tolist()}).json()
    answer = post(client, array.tobytes(), f"{RAW}; {parameters}")
    assert answer.status_code == 200, answer.text
    assert answer.json() == expected


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "uint32", "bool"])
def test_whole_numbers_are_read(client: Http, model: ModelRow, dtype: str) -> None:
    array = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    expected = client.post("/v1/models/sizes/embeddings", json={"inputs": array.astype(int).tolist()}).json()
    for what in (f"{RAW}; dtype={dtype}; shape=2,3", NPY):
        content = array.tobytes() if what.startswith(RAW) else npy(array)
        answer = post(client, content, what, "sizes/embeddings")
        if dtype == "bool":  # which are no numbers, here as in JSON
            check_problem(answer, 422, "invalid_input")
        else:
            assert answer.json() == expected


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


FLOATS = ROWS.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("content", "parameters", "said"),
    [
        (FLOATS, "dtype=float32", "say the array's shape in the Content-Type, too"),
        (FLOATS, "shape=2,3", "say the numbers' type in the Content-Type, too"),
        (FLOATS, "dtype=float32; shape=", "say the array's shape"),
        (FLOATS[:-1], "dtype=float32; shape=2,3", "shape 2,3 of float32 takes 24 bytes, and 23 were sent"),
        (FLOATS, "dtype=float64; shape=2,3", "takes 48 bytes, and 24 were sent"),
        (FLOATS[:-1], "dtype=float32; shape=-1,3", "no multiple of the"),
        (FLOATS, "dtype=float32; shape=-1,0", "no multiple of the"),
        (FLOATS, "dtype=float32; shape=-1,-1", "is none"),
        (FLOATS, "dtype=float32; shape=2;3", "is none"),
        (FLOATS, "dtype=float32; shape=2,a", "is none"),
        (FLOATS, "dtype=float32; shape=-2,3", "is none"),
        (FLOATS, "dtype=float32; shape=1,1,1,1,1,1,1,2,3", "is none"),
        (FLOATS, "dtype=float32; shape=999999999999,999999999999", "and 24 were sent"),
        (b"", "dtype=float32; shape=0,3", "it holds no rows"),
        (b"\0" * 4097, "dtype=uint8; shape=4097,1", "more than 4096 rows"),
        (FLOATS, "dtype=object; shape=2,3", "dtype 'object' is not read"),
        (FLOATS, "dtype=complex64; shape=1,3", "dtype 'complex64' is not read"),
        (FLOATS, "dtype=float23; shape=2,3", "did you mean float"),
        (FLOATS, "dtype=bfloat16; shape=2,3", "is not read; did you mean float16? There are bool"),
        (FLOATS, "dtype=float32; shape=2,3; byteorder=middle", "byteorder is little or big"),
        (FLOATS, "dtype=<f4; shape=2,3; byteorder=big", "contradict each other"),
        (FLOATS, "dtyp=float32; shape=2,3", "no parameter 'dtyp'; did you mean dtype"),
    ],
)
def test_what_is_wrong_with_an_array_is_said(
    client: Http, model: ModelRow, content: bytes, parameters: str, said: str
) -> None:
    parameters = parameters.replace("2;3", "2.3")
    assert said in check_problem(post(client, content, f"{RAW}; {parameters}"), 422, "invalid_body")["detail"]


def test_rows_that_do_not_fit_are_named(client: Http, model: ModelRow) -> None:
    wide = post(client, FLOATS, f"{RAW}; dtype=float32; shape=3,2")
    assert check_problem(wide, 422, "invalid_input")["errors"][0]["loc"] == ["inputs", 0]
    array = np.array([[1, 2, 3], [1, np.inf, 3]])
    ways = [post(client, array.tobytes(), f"{RAW}; dtype=float64; shape=2,3"), post(client, npy(array), NPY)]
    errors = [check_problem(answer, 422, "invalid_input")["errors"] for answer in ways]
    assert errors[0] == errors[1]
    assert errors[0][0]["loc"] == ["inputs", 1, "height"]


def test_nan_is_a_missing_value_whichever_way_it_comes(client: Http, model: ModelRow) -> None:
    array = np.array([[1, 2, 3], [1, np.nan, 3]])
    url = "/v1/models/sizes/predictions"
    ways = [post(client, array.tobytes(), f"{RAW}; dtype=float64; shape=2,3"), post(client, npy(array), NPY)]
    ways.append(client.post(url, json={"inputs": [[1, 2, 3], [1, None, 3]]}))
    answers = [way.json() for way in ways]
    assert answers[0] == answers[1] == answers[2]
    (warning,) = answers[0]["warnings"]
    assert (warning["code"], warning["rows"]) == ("missing_value", [1])


def test_files_without_parameters_are_known_by_their_first_bytes_as_before(client: Http, model: ModelRow) -> None:
    assert post(client, npy(ROWS), RAW).status_code == 200
    refused = post(client, FLOATS, RAW)
    assert "dtype=float32; shape=32,784" in check_problem(refused, 415, "unsupported_media_type")["detail"]
    # Numbers that happen to begin like a file are numbers where the Content-Type says so.
    like_png = b"\x89PNG\r\n\x1a\n" + FLOATS[8:]
    assert post(client, like_png, f"{RAW}; dtype=uint8; shape=8,3").status_code == 200


def test_a_part_of_a_form_may_be_an_array(client: Http, model: ModelRow) -> None:
    part = ("rows.bin", FLOATS, f"{RAW}; dtype=float32; shape=2,3")
    one = client.post("/v1/models/sizes/predictions", files={"file": part}).json()["predictions"]
    two = client.post("/v1/models/sizes/predictions", files=[("file", part), ("file", part)]).json()["predictions"]
    assert len(one) == 2
    assert [answer["size"]["class"] for answer in two] == [answer["size"]["class"] for answer in [*one, *one]]


def test_pictures_are_taken_as_arrays(client: Http, services: Services, project_id: str) -> None:
    add_bundle(services, project_id, "pictures", make_image_bundle(4, 6))
    pixels = np.arange(48, dtype=np.uint8).reshape(2, 4, 6)
    expected = client.post("/v1/models/pictures/embeddings", json={"inputs": pixels.tolist()}).json()
    raw = post(client, pixels.tobytes(), f"{RAW}; dtype=uint8; shape=2,4,6", "pictures/embeddings")
    assert raw.json() == expected
    floats = pixels[..., None].astype("<f4")
    raw = post(client, floats.tobytes(), f"{RAW}; dtype=float32; shape=2,4,6,1", "pictures/embeddings")
    assert raw.json() == expected


def test_series_and_texts_as_arrays_are_read_as_their_lists(client: Http, services: Services, project_id: str) -> None:
    add_bundle(services, project_id, "series", bundle_of("series"))
    add_bundle(services, project_id, "texts", bundle_of("text"))
    steps = np.array([[[0.5, 5.0], [0.25, np.nan]], [[0.1, 5.5], [0, 7]]])
    as_json = [[[0.5, 5.0], [0.25, None]], [[0.1, 5.5], [0, 7]]]
    expected = client.post("/v1/models/series/predictions", json={"inputs": as_json}).json()
    assert post(client, npy(steps), NPY, "series/predictions").json() == expected
    raw = post(client, steps.tobytes(), f"{RAW}; dtype=float64; shape=2,2,2", "series/predictions")
    assert raw.json() == expected
    texts = ["a red ring", "one plus"]
    expected = client.post("/v1/models/texts/predictions", json={"inputs": texts}).json()
    assert post(client, npy(np.array(texts)), NPY, "texts/predictions").json() == expected
    raw = post(client, steps.tobytes(), f"{RAW}; dtype=float64; shape=8", "texts/predictions")
    assert "text" in check_problem(raw, 422, "invalid_input")["detail"]
    continued = post(client, b"abc", f"{RAW}; dtype=uint8; shape=3", "texts/generations")
    check_problem(continued, 415)


def test_embeddings_come_as_arrays(client: Http, model: ModelRow) -> None:
    url, body = "/v1/models/sizes/embeddings", {"inputs": [*ROWS.tolist(), [1e9, 0, 0]]}
    expected = client.post(url, json=body).json()
    raw = client.post(url, json=body, headers={"Accept": RAW})
    assert raw.headers["content-type"] == f'{RAW}; dtype=float32; shape="3,4"'
    features = np.frombuffer(raw.content, "<f4").reshape(3, 4)
    assert features.tolist() == np.array(expected["embeddings"], np.float32).tolist()
    saved = client.post(url, json=body, headers={"Accept": NPY})
    assert saved.headers["content-type"] == NPY
    assert np.load(io.BytesIO(saved.content)).tolist() == features.tolist()
    for answer in (raw, saved):
        said = described(answer)
        assert said.pop("model") == expected["model"]
        assert said.pop("warnings") == expected["warnings"]
        assert said == {"dtype": "float32", "shape": [3, 4], "head": None, "names": [], "omitted": []}
        assert answer.headers["graftwork-warnings"] == str(len(expected["warnings"]))
    again = post(client, raw.content[: 3 * 4 * 3], f"{RAW}; dtype=float32; shape=-1,3", "sizes/embeddings")
    assert again.status_code == 200


def test_probabilities_of_one_head_come_as_an_array(client: Http, model: ModelRow) -> None:
    url, body = "/v1/models/sizes/predictions", {"inputs": ROWS.tolist()}
    expected = client.post(f"{url}?digits=17", json=body).json()["predictions"]
    answer = client.post(url, json=body, headers={"Accept": RAW})
    said = described(answer)
    assert (said["head"], said["names"], said["dtype"], said["omitted"]) == ("size", list(CLASSES), "float64", [])
    numbers = np.frombuffer(answer.content, said["dtype"]).reshape(said["shape"])
    assert [dict(zip(said["names"], row, strict=True)) for row in numbers.tolist()] == [
        prediction["size"]["probabilities"] for prediction in expected
    ]
    assert [said["names"][best] for best in numbers.argmax(1)] == [each["size"]["class"] for each in expected]


def test_of_several_heads_one_is_chosen(client: Http, several: ModelRow) -> None:
    url, body = "/v1/models/several/predictions", {"inputs": [[110.5, 0.5, None, "red"], [120, 1, 0.5, "blue"]]}
    expected = client.post(f"{url}?digits=17", json=body).json()["predictions"]
    headers = {"Accept": NPY}
    refused = check_problem(client.post(url, json=body, headers=headers), 422, "several_heads")
    assert "?heads=label; there are 'label', 'size'" in refused["detail"]
    answer = client.post(f"{url}?heads=size", json=body, headers=headers)
    assert np.load(io.BytesIO(answer.content)).tolist() == [each["size"]["value"] for each in expected]
    assert described(answer)["omitted"] == ["interval", "level"]
    answer = client.post(url, json={**body, "heads": "label"}, headers=headers)
    assert np.load(io.BytesIO(answer.content)).shape == (2, len(tiny.CLASSES))
    for option in ("digits=3", "top_k=1"):
        refused = client.post(f"{url}?heads=label&{option}", json=body, headers=headers)
        assert f"accept {JSON}" in check_problem(refused, 422, "invalid_request")["detail"]
    check_problem(client.post(f"{url}?heads=labels", json=body, headers=headers), 422, "unknown_head")


def test_errors_are_problems_whatever_is_accepted(client: Http, model: ModelRow) -> None:
    check_problem(post(client, b"{}", JSON, Accept=RAW), 422)
    check_problem(post(client, b"{}", JSON, "nothing/predictions", Accept=NPY), 422)


def test_a_header_never_grows_beyond_what_proxies_take(client: Http, services: Services, project_id: str) -> None:
    names = tuple(f"class {number:04}" for number in range(600))
    add_bundle(services, project_id, "many", make_bundle(classes=names))
    body = {"inputs": [{"width": 1e12, "height": 1, "depth": 2, "else": 1, "w" * 300: 1}] * 3}
    url = "/v1/models/many/predictions"
    answer = client.post(url, json=body, headers={"Accept": RAW})
    said = described(answer)
    assert len(answer.headers["graftwork-answer"]) <= 3072
    assert (said["names"], said["shape"]) == (None, [3, 600])  # they are the model's, which a link leads to
    assert answer.headers["link"] == f'</v1/models/{said["model"]["id"]}>; rel="describedby"'
    (head,) = client.get("/v1/models/many").json()["heads"]
    assert head["classes"] == list(names)
    assert answer.headers["graftwork-warnings"] == str(len(said["warnings"]))
    assert [warning["code"] for warning in said["warnings"]] == [
        warning["code"] for warning in client.post(url, json=body).json()["warnings"]
    ]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", JSON),
        ("", JSON),
        ("application/*", JSON),
        ("text/html, */*;q=0.1", JSON),
        (f"{RAW}, */*", RAW),
        (f"*/*, {NPY};q=0.9", JSON),
        (f"{NPY};q=0.5, {RAW};q=0.6", RAW),
        (f"{NPY}, {JSON}", NPY),
        (f"{JSON};q=0, */*", NPY),
        (f"{JSON};q=0.2, application/*;q=0.1", JSON),
        (f"{JSON}; charset=utf-8", JSON),
        ("Application/X-NPY", NPY),
        (f"{NPY};q=abc, {RAW}", RAW),
    ],
)
def test_the_form_is_negotiated(client: Http, model: ModelRow, accept: str, expected: str) -> None:
    answer = client.post("/v1/models/sizes/embeddings", json={"inputs": ROWS.tolist()}, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == expected


@pytest.mark.parametrize("accept", ["text/html", "image/*", "*/*;q=0", f"{JSON};q=0", "json"])
def test_what_cannot_be_accepted_is_refused_with_what_is_offered(client: Http, model: ModelRow, accept: str) -> None:
    for what in ("embeddings", "predictions"):
        body = {"inputs": ROWS.tolist()}
        answer = client.post(f"/v1/models/sizes/{what}", json=body, headers={"Accept": accept})
        detail = check_problem(answer, 406, "not_acceptable")["detail"]
        assert all(form in detail for form in (JSON, NPY, RAW))
