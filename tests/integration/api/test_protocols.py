"""Other protocols, spoken by the clients that people have, against a real server; and streams that break off."""

import base64
import io
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import numpy as np
import openai
import PIL.Image
import pytest
import tritonclient.http as tritonclient
from fastapi import FastAPI
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from app.db.session import Database
from app.dependencies import Services
from app.main import create_app
from app.ml.models.generation import _Reader
from app.predictions import service
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.live import served
from tests.support.models import COLUMNS, add_bundle, add_model, bundle_of, make_image_bundle
from tests.support.servers import HANGS, wait_until
from tests.support.texts import CHARACTERS, SMALL, run_of, text_data

pytestmark = pytest.mark.one_database("sqlite")  # the SQL is that of other modules


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    with served(app) as port:
        yield port


@pytest.fixture
def verses(services: Services, project_id: str) -> None:
    """A language model that has seen one step."""
    add_verses(services, project_id, CHARACTERS)


@pytest.fixture
def endless(services: Services, project_id: str) -> None:
    """One whose texts have no end."""
    add_verses(services, project_id, {**CHARACTERS, "limits": "open"})


def add_verses(services: Services, project_id: str, preprocessing: dict[str, Any]) -> None:
    request = {"backbone": SMALL, "preprocessing": preprocessing, "training": {"steps": 1, "batch_size": 8}}
    run = run_of(
        text_data(["abcabc", "bcabca"] * 6), {**request, "heads": [{"kind": "generator"}], "strategy": {"kind": "full"}}
    )
    run.state.objective.eval()
    add_bundle(services, project_id, "verses", run.bundle())


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each token that is computed."""
    monkeypatch.setattr(service, "_GENERATION_SECONDS", HANGS)  # so that nothing else ends a generation
    computed: list[int] = []
    advance = _Reader.advance

    def counted(reader: _Reader, *arguments: object) -> None:
        computed.append(1)
        advance(reader, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_Reader, "advance", counted)
    return computed


LONG = {"max_tokens": 4096, "temperature": 1}
ENDLESS = {
    "ours": ("/v1/models/verses/generations", {"inputs": ["ab"] * 8, **LONG}, "text/event-stream"),
    "ours at once": ("/v1/models/verses/generations", {"inputs": ["ab"] * 8, **LONG}, "*/*"),
    "OpenAI's": ("/openai/v1/completions", {"model": "verses", "prompt": ["ab"] * 8, **LONG, "stream": True}, "*/*"),
    "OpenAI's at once": ("/openai/v1/completions", {"model": "verses", "prompt": ["ab"] * 8, **LONG}, "*/*"),
}


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize(("path", "request_body", "accept"), ENDLESS.values(), ids=ENDLESS)
def test_who_hangs_up_is_not_computed_for(
    port: int, key: str, tokens: list[int], path: str, request_body: dict[str, Any], accept: str
) -> None:
    """8 x 4,096 tokens take long; for one who is gone only the first are computed."""
    body = json.dumps(request_body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nAccept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)
        wait_until(lambda: tokens, "it computes")
    url, headers = f"http://127.0.0.1:{port}/v1/models/verses/embeddings", {"Authorization": f"Bearer {key}"}
    counts: list[int] = []

    def stands_still() -> bool:
        httpx.post(url, json={"inputs": ["ab"]}, headers=headers, trust_env=False).raise_for_status()
        counts.append(len(tokens))
        return counts[-2:-1] == counts[-1:]

    wait_until(stands_still, "no more tokens are computed")
    assert counts[-1] < 4096


# ---- the Open Inference Protocol ----------------------------------------------------------------------------------

Tensors = dict[str, np.ndarray[Any, Any]]


class Triton:
    """Triton's own client."""

    def __init__(self, port: int, key: str | None) -> None:
        self.client = tritonclient.InferenceServerClient(f"127.0.0.1:{port}")
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def infer(self, model: str, tensors: Tensors, *, binary: bool = True, **options: Any) -> tritonclient.InferResult:
        inputs = []
        for name, array in tensors.items():
            tensor = tritonclient.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            inputs.append(tensor.set_data_from_numpy(array, binary_data=binary))
        headers = dict(self.headers)  # the client adds to them
        return self.client.infer(model, inputs, headers=headers, **options)


@pytest.fixture
def triton(port: int, key: str) -> Iterator[Triton]:
    triton = Triton(port, key)
    yield triton
    triton.client.close()


@pytest.fixture
def add(services: Services, project_id: str) -> Callable[[str], None]:
    """Register a model of a modality, under its name."""
    return lambda modality: add_bundle(services, project_id, modality, bundle_of(modality)) and None


def texts_of(*texts: str) -> np.ndarray[Any, Any]:
    return np.array(texts, dtype=object).reshape(-1, 1)


TABLE: Tensors = {
    "width": np.array([[110.5], [120]]),
    "weight": np.array([0.5, 1], np.float32),
    "age": np.array([[np.nan], [0.5]]),
    "colour": texts_of("red", "blue"),
}
TABLE_ROWS = [
    {"width": 110.5, "weight": 0.5, "age": None, "colour": "red"},
    {"width": 120, "weight": 1, "age": 0.5, "colour": "blue"},
]
PIXELS = np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8)
WAVES = np.linspace(0, 1, 2 * 5 * 2).reshape(2, 5, 2)
ASKED: dict[str, tuple[Tensors, list[Any]]] = {
    "table": (TABLE, TABLE_ROWS),
    "image": ({"inputs": PIXELS}, PIXELS.tolist()),
    "series": ({"inputs": WAVES}, WAVES.tolist()),
    "text": ({"inputs": texts_of("a red ring", "one plus")}, ["a red ring", "one plus"]),
}


def same(result: tritonclient.InferResult, answers: list[dict[str, Any]]) -> None:
    """The tensors hold what our own endpoint answers."""
    assert [
        [text.decode() if isinstance(text, bytes) else text for text in row] for row in result.as_numpy("label")
    ] == [[answer["label"]["class"]] for answer in answers]
    probabilities = [[*answer["label"]["probabilities"].values()] for answer in answers]
    assert result.as_numpy("label.probabilities").tolist() == np.array(probabilities, np.float32).tolist()
    assert result.as_numpy("size").tolist() == [[answer["size"]["value"]] for answer in answers]
    assert result.as_numpy("size.interval").tolist() == [answer["size"]["interval"] for answer in answers]


@pytest.mark.parametrize("modality", [*ASKED])
def test_tensors_are_answered_as_json_is(
    triton: Triton, client: Http, add: Callable[[str], None], modality: str
) -> None:
    add(modality)
    tensors, rows = ASKED[modality]
    url = f"/v1/models/{modality}/predictions?digits=17"  # tensors are not rounded
    answers = client.post(url, json={"inputs": rows}).json()["predictions"]
    for binary in (True, False):
        is_json = modality == "table" and not binary  # NaN is no JSON
        asked = (
            {name: np.nan_to_num(array) for name, array in tensors.items() if name != "colour"} if is_json else tensors
        )
        result = triton.infer(modality, {**tensors, **asked}, binary=binary, request_id="7")
        assert result.get_response()["id"] == "7"
        assert (result.get_response()["model_name"], result.get_response()["model_version"]) == (modality, "1")
        if not is_json:
            same(result, answers)
    outputs = [
        tritonclient.InferRequestedOutput("size", binary_data=False),
        tritonclient.InferRequestedOutput("embeddings", binary_data=True),
        tritonclient.InferRequestedOutput("label.probabilities", class_count=2),
    ]
    result = triton.infer(modality, tensors, outputs=outputs, model_version="1")
    assert [output["name"] for output in result.get_response()["outputs"]] == [output.name() for output in outputs]
    assert "data" in result.get_output("size")
    embeddings = client.post(f"/v1/models/{modality}/embeddings", json={"inputs": rows}).json()["embeddings"]
    assert result.as_numpy("embeddings").tolist() == np.array(embeddings, np.float32).tolist()
    best = result.as_numpy("label.probabilities")[0, 0].decode().split(":")
    assert best[2] == answers[0]["label"]["class"]
    assert float(best[0]) == pytest.approx(answers[0]["label"]["probabilities"][best[2]], abs=1e-6)


def test_metadata_says_what_works(triton: Triton, client: Http, add: Callable[[str], None], app: FastAPI) -> None:
    for modality in ASKED:
        add(modality)
        metadata = triton.client.get_model_metadata(modality, headers=triton.headers)
        assert (metadata["name"], metadata["versions"], metadata["platform"]) == (modality, ["1"], "graftwork")
        tensors = {}
        for tensor in metadata["inputs"]:
            shape = [3 if size == -1 else size for size in tensor["shape"]]
            of_type = {
                "BYTES": np.full(shape, "red", object),
                "UINT8": np.ones(shape, np.uint8),
                "FP64": np.ones(shape),
            }
            tensors[tensor["name"]] = of_type[tensor["datatype"]]
        result = triton.infer(modality, tensors)
        described = {tensor["name"]: tensor for tensor in metadata["outputs"]}
        for output in result.get_response()["outputs"]:
            assert output["datatype"] == described[output["name"]]["datatype"]
            assert output["shape"] == [3, *described[output["name"]]["shape"][1:]]
        assert [*described] == [*(output["name"] for output in result.get_response()["outputs"]), "embeddings"]
        assert triton.client.is_model_ready(modality, headers=triton.headers)
        assert triton.client.is_model_ready(modality, "1", headers=triton.headers)
        assert not triton.client.is_model_ready(modality, "2", headers=triton.headers)
    assert triton.client.is_server_live()
    assert triton.client.is_server_ready()
    server = triton.client.get_server_metadata(headers=triton.headers)
    assert (server["name"], server["extensions"]) == ("graftwork", ["binary_tensor_data", "classification"])


def test_names_versions_and_aliases_are_asked(triton: Triton, client: Http, add: Callable[[str], None]) -> None:
    add("text")
    add("text")
    client.put("/v1/models/text/aliases/best", json={"model": "text@1"})
    tensors = {"inputs": texts_of("a")}
    versions = [
        triton.infer(name, tensors, model_version=version).get_response()["model_version"]
        for name, version in (("text", ""), ("text", "1"), ("text@1", ""), ("text@best", ""), ("text", "best"))
    ]
    assert versions == ["2", "1", "1", "1", "1"]
    assert triton.client.get_model_metadata("text", headers=triton.headers)["versions"] == ["1", "2"]


WRONG: list[tuple[Tensors, str]] = [
    ({"inputs": np.zeros((2, 3))}, "input tensor 'inputs', row 0: 3 values are given; expected 4"),
    ({"inputs": np.zeros(4)}, r"input tensor 'inputs': its shape is \[4\]; expected \(rows, columns\)"),
    ({**TABLE, "colr": texts_of("a", "b")}, "input tensor 'colr': the model has no such input; did you mean 'colour'"),
    ({name: array for name, array in TABLE.items() if name != "width"}, "input tensor 'width' is missing"),
    ({**TABLE, "width": np.zeros((3, 1))}, "has 2 rows, and 'width' has 3"),
    ({**TABLE, "width": np.zeros((2, 2))}, r"input tensor 'width': its shape is \[2, 2\]; expected \(rows, 1\)"),
    ({**TABLE, "width": texts_of("1", "wide")}, "input tensor 'width', row 1: "),
    ({**TABLE, "inputs": np.zeros((2, 4))}, "input tensor 'width': 'inputs' holds the rows already"),
    ({"inputs": np.zeros((4097, 4))}, "1 to 4096 in a request, not 4097"),
    ({"inputs": np.zeros((0, 4))}, "1 to 4096 in a request, not 0"),
]


def test_what_is_wrong_names_the_tensor(triton: Triton, add: Callable[[str], None]) -> None:
    add("table")
    for tensors, message in WRONG:
        with pytest.raises(InferenceServerException, match=message) as caught:
            triton.infer("table", tensors)
        assert caught.value.status() == "400"
    unknown = [tritonclient.InferRequestedOutput("labels")]
    with pytest.raises(InferenceServerException, match=r"output tensor 'labels': .* did you mean 'label'"):
        triton.infer("table", TABLE, outputs=unknown)
    with pytest.raises(InferenceServerException, match="parameters: there is no 'priority'"):
        triton.infer("table", TABLE, priority=3)
    with pytest.raises(InferenceServerException, match="no such model") as caught:
        triton.infer("tables", TABLE)
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="valid API key") as caught:
        Triton(triton.client._parsed_url.port, None).infer("table", TABLE)
    assert caught.value.status() == "401"


def test_a_request_that_is_not_whole_is_refused(client: Http, add: Callable[[str], None]) -> None:
    add("text")
    url = "/v2/models/text/infer"
    tensor = {"name": "inputs", "shape": [1], "datatype": "BYTES"}

    def refused(tensor: dict[str, Any], content: bytes = b"", length: str | None = None, **fields: Any) -> str:
        head = json.dumps({"inputs": [tensor], **fields}).encode()
        headers = {"inference-header-content-length": length or str(len(head))} if content or length else {}
        answer = client.post(url, content=head + content, headers=headers)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error"}
        return str(answer.json()["error"])

    sized = {**tensor, "parameters": {"binary_data_size": 5}}
    assert client.post(url, json={"inputs": [{**tensor, "data": ["a"]}]}).status_code == 200
    assert "neither data nor" in refused(tensor)
    assert "Inference-Header-Content-Length" in refused(sized)
    assert "binary_data_size is 5, and 3 bytes follow" in refused(sized, b"abc")
    assert "not 1 elements" in refused(sized, b"\xff\0\0\0a")
    assert "1 bytes follow the last tensor" in refused(sized, b"\1\0\0\0ab")
    assert "row 0 is no UTF-8" in refused(sized, b"\1\0\0\0\xff")
    assert "the beginning of the body" in refused(sized, b"\1\0\0\0a", length="1000")
    assert "the beginning of the body" in refused(sized, b"\1\0\0\0a", length="x")
    assert "data and binary_data_size" in refused({**sized, "data": ["a"]}, b"\1\0\0\0a")
    assert "its datatype is none of BOOL" in refused({**tensor, "datatype": "STRING", "data": ["a"]})
    assert "element 0 of data is no BYTES" in refused({**tensor, "data": [1]})
    assert "data has 2 elements, and the shape [1] 1" in refused({**tensor, "data": ["a", "b"]})
    assert "not nested" in refused({**tensor, "shape": [2, 2], "data": [["a"], ["b", "c"]]})
    assert "not nested" in refused({**tensor, "shape": [], "data": [["a"]]})
    assert "no UINT8" in refused({**tensor, "datatype": "UINT8", "data": [300]})
    assert "texts are BYTES" in refused({**tensor, "datatype": "INT8", "data": [3]})
    assert "no parameter 'shared_memory_region'" in refused({**tensor, "parameters": {"shared_memory_region": "a"}})
    assert "there is no such field" in refused({**tensor, "data": ["a"]}, sequence=1)


def test_what_is_doubtful_is_told_or_refused(triton: Triton, add: Callable[[str], None]) -> None:
    add("table")
    tensors = {**TABLE, "colour": texts_of("red", "green")}
    response = triton.infer("table", tensors).get_response()
    (warning,) = json.loads(response["parameters"]["warnings"])
    assert (warning["code"], warning["rows"]) == ("unknown_category", [1])
    with pytest.raises(InferenceServerException, match="input tensor 'colour', row 1: "):
        triton.infer("table", tensors, parameters={"unknown": "refuse"})


def test_tables_of_numbers_and_pictures_come_in_one_tensor(
    triton: Triton, client: Http, services: Services, project_id: str
) -> None:
    add_model(services, project_id, "sizes")
    metadata = triton.client.get_model_metadata("sizes", headers=triton.headers)
    (tensor,) = metadata["inputs"]
    assert (tensor["datatype"], tensor["shape"], tensor["parameters"]["labels"]) == ("FP64", [-1, 3], [*COLUMNS])
    rows = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    expected = client.post("/v1/models/sizes/predictions", json={"inputs": rows.tolist()}).json()["predictions"]
    by_name = {name: rows[:, place] for place, name in enumerate(COLUMNS)}
    for tensors in ({"inputs": rows}, {"inputs": rows.astype(np.float16)}, by_name):
        result = triton.infer("sizes", tensors)
        assert [row[0].decode() for row in result.as_numpy("size")] == [answer["size"]["class"] for answer in expected]
    add_bundle(services, project_id, "pictures", make_image_bundle(4, 4, 3))
    picture = io.BytesIO()
    PIL.Image.new("RGB", (4, 4), (200, 10, 90)).save(picture, "PNG")
    encoded = base64.b64encode(picture.getvalue())
    expected = client.post("/v1/models/pictures/embeddings", json={"inputs": [encoded.decode()]}).json()["embeddings"]
    for content in (picture.getvalue(), encoded):
        result = triton.infer("pictures", {"inputs": np.array([[content]], dtype=object)})
        assert result.as_numpy("embeddings").tolist() == np.array(expected, np.float32).tolist()


# ---- in OpenAI's shape --------------------------------------------------------------------------------------------


@pytest.fixture
def client_of(port: int) -> Iterator[Callable[[str], openai.OpenAI]]:
    """OpenAI's own client, which tries nothing twice."""
    with ExitStack() as clients:
        url = f"http://127.0.0.1:{port}/openai/v1"
        yield lambda key: clients.enter_context(openai.OpenAI(base_url=url, api_key=key, max_retries=0))


@pytest.fixture
def ai(client_of: Callable[[str], openai.OpenAI], key: str) -> openai.OpenAI:
    return client_of(key)


def test_embeddings_are_ours(ai: openai.OpenAI, client: Http, add: Callable[[str], None]) -> None:
    add("text")
    texts = ["a red ring", "one plus"]
    expected = client.post("/v1/models/text/embeddings", json={"inputs": texts}).json()["embeddings"]
    for options in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}, {"dimensions": len(expected[0])}):
        answer = ai.embeddings.create(model="text", input=texts, user="me", **options)  # type: ignore[call-overload]
        numbers = [item.embedding for item in answer.data]
        if options.get("encoding_format") == "base64":
            numbers = [np.frombuffer(base64.b64decode(item), "<f4").tolist() for item in numbers]
        assert np.array(numbers, np.float32).tolist() == np.array(expected, np.float32).tolist()
    assert (answer.model, [item.index for item in answer.data]) == ("text@1", [0, 1])
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == len("a red ring") + len("one plus") + 2
    (single,) = ai.embeddings.create(model="text@1", input=texts[0]).data
    assert single.embedding == pytest.approx(expected[0], abs=1e-6)
    assert answer.warnings == []  # type: ignore[attr-defined]


def test_models_are_listed_by_name_and_alias(ai: openai.OpenAI, client: Http, add: Callable[[str], None]) -> None:
    assert ai.models.list().data == []
    for modality in ("text", "text", "table"):
        add(modality)
    client.put("/v1/models/text/aliases/best", json={"model": "text@1"})
    assert [(model.id, model.modality) for model in ai.models.list()] == [  # type: ignore[attr-defined]
        ("table", "table"),
        ("text", "text"),
        ("text@best", "text"),
    ]
    assert ai.models.retrieve("text@best").id == "text@best"
    with pytest.raises(openai.NotFoundError) as caught:
        ai.models.retrieve("txt")
    assert (caught.value.code, caught.value.type) == ("model_not_found", "invalid_request_error")


@pytest.mark.usefixtures("verses")
def test_completions_are_our_generations(ai: openai.OpenAI, client: Http) -> None:
    prompts = ["ab", "c"]
    ours = {"inputs": prompts, "max_tokens": 20, "temperature": 1.2, "top_p": 0.9, "n": 2, "seed": 3, "stop": ["bca"]}
    expected = [
        item
        for generation in client.post("/v1/models/verses/generations", json=ours).json()["generations"]
        for item in generation["continuations"]
    ]
    options = {"model": "verses", "prompt": prompts, "max_tokens": 20, "temperature": 1.2, "top_p": 0.9, "n": 2}
    options |= {"seed": 3, "stop": "bca"}
    answer = ai.completions.create(**options)  # type: ignore[call-overload]
    reasons = {"end": "stop", "stop": "stop", "length": "length"}
    assert [(choice.index, choice.text, choice.finish_reason) for choice in answer.choices] == [
        (index, item["text"], reasons[item["finish"]]) for index, item in enumerate(expected)
    ]
    assert answer.model == "verses@1"
    written = sum(item["tokens"] for item in expected)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len("ab") + len("c") + 2, written)
    texts, ends, usage = dict.fromkeys(range(4), ""), {}, None
    for chunk in ai.completions.create(**options, stream=True, stream_options={"include_usage": True}):  # type: ignore[call-overload]
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            ends |= {choice.index: choice.finish_reason} if choice.finish_reason else {}
    assert [*texts.values()] == [item["text"] for item in expected]
    assert ends == {index: reasons[item["finish"]] for index, item in enumerate(expected)}
    assert usage == answer.usage
    greedy = ai.completions.create(model="verses", prompt="ab", temperature=0, top_p=0.5, echo=True)
    streamed = ai.completions.create(model="verses", prompt="ab", temperature=0, echo=True, stream=True)
    assert greedy.choices[0].text.startswith("ab")
    assert "".join(chunk.choices[0].text for chunk in streamed) == greedy.choices[0].text
    best = ai.completions.create(**{**options, "n": 1, "best_of": 2})  # type: ignore[call-overload]
    by_token = [
        max(expected[place : place + 2], key=lambda item: item["log_probability"] / item["tokens"]) for place in (0, 2)
    ]
    assert [choice.text for choice in best.choices] == [item["text"] for item in by_token]
    drawn = {ai.completions.create(model="verses", prompt="ab", max_tokens=32).choices[0].text for _ in range(4)}
    assert len(drawn) > 1


REFUSED: list[dict[str, Any]] = [
    {"suffix": "b"},
    {"logprobs": 2},
    {"logit_bias": {"5": 1}},
    {"frequency_penalty": 0.5},
    {"presence_penalty": -1},
    {"prompt": [5, 6]},
    {"prompt": [[5], [6]]},
    {"max_tokens": 0},
    {"temperature": 3},
    {"top_p": 0},
    {"stop": ["a"] * 17},
    {"functions": []},
]


@pytest.mark.usefixtures("verses")
def test_refusals_are_the_clients_own_exceptions(
    ai: openai.OpenAI,
    client_of: Callable[[str], openai.OpenAI],
    add: Callable[[str], None],
    make_key: MakeKey,
) -> None:
    for fields in REFUSED:
        body = {"model": "verses", "prompt": "ab", **fields}
        with pytest.raises(openai.BadRequestError) as caught:
            ai.post("/completions", body=body, cast_to=object)
        assert caught.value.param == next(iter(fields)), fields
        assert str(caught.value.body["message"]).startswith(next(iter(fields)))  # type: ignore[index]
    for fields in ({"n": 2, "temperature": 0}, {"n": 3, "best_of": 2}, {"best_of": 2, "stream": True}):
        with pytest.raises(openai.BadRequestError):
            ai.completions.create(model="verses", prompt="ab", **fields)  # type: ignore[call-overload]
    add("table")
    add("text")
    with pytest.raises(openai.BadRequestError, match="takes table rows"):
        ai.embeddings.create(model="table", input="a")
    with pytest.raises(openai.BadRequestError, match=r"dimensions: .* cannot be shortened"):
        ai.embeddings.create(model="text", input="a", dimensions=2)
    with pytest.raises(openai.BadRequestError, match="token codes"):
        ai.embeddings.create(model="text", input=[1, 2])
    with pytest.raises(openai.BadRequestError, match="the text is empty"):
        ai.embeddings.create(model="text", input="")
    with pytest.raises(openai.BadRequestError, match="continues no texts"):
        ai.completions.create(model="text", prompt="a")
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError):
            ai.completions.create(model="verse", prompt="a", stream=stream)
    with pytest.raises(openai.AuthenticationError):
        client_of("w" * 40).models.list()
    with pytest.raises(openai.PermissionDeniedError):
        client_of(make_key(scopes=("read",))).embeddings.create(model="text", input="a")


def test_too_many_requests_are_a_rate_limit(settings: Settings, database: Database, key: str) -> None:
    app = create_app(settings.model_copy(update={"max_requests": 0}))
    with served(app) as port:
        url = f"http://127.0.0.1:{port}/openai/v1"
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as ai, pytest.raises(openai.RateLimitError):
            ai.models.list()
    assert database


def test_health_answers_load_balancers_by_any_name(client: Http) -> None:
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert client.get(path, headers={"host": "10.0.0.7", "authorization": ""}).status_code == 200
    assert client.get("/v2", headers={"host": "10.0.0.7"}).json() == {
        "error": "This service does not answer to that Host header."
    }
