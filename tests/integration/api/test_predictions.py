import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI

from app.artifacts import blob_key
from app.db.session import Database
from app.db.tables import ModelRow
from app.dependencies import Services
from app.predictions.schemas import MAX_INPUTS
from app.serving.engine import Engine
from app.serving.references import References
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.models import CLASSES, add_model, make_bundle
from tests.support.problems import check_problem
from tests.support.servers import wait_until

pytestmark = pytest.mark.one_database

ROWS = [[1.0, -2.0, 0.5], {"width": 3, "height": 4, "depth": -5}]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def model(services: Services, project_id: str) -> ModelRow:
    return add_model(services, project_id, "sizes")


@pytest.fixture
def clock(app: FastAPI) -> Clock:
    """Time as the engine's memory of references sees it."""
    clock = Clock()
    engine = Engine(16, References(2.0, clock=clock))
    app.state.services = Services(**{**app.state.services.__dict__, "engine": engine})
    return clock


def predict(client: Http, ref: str, inputs: Any = None) -> Any:
    return client.post(f"/v1/models/{ref}/predictions", json={"inputs": ROWS if inputs is None else inputs})


def test_every_input_gets_an_answer_of_every_head(client: Http, model: ModelRow) -> None:
    answer = predict(client, "sizes").json()
    assert answer["model"] == {"id": model.id, "name": "sizes", "version": 1}
    assert len(answer["predictions"]) == 2
    for prediction in answer["predictions"]:
        probabilities = prediction["size"]["probabilities"]
        assert set(probabilities) == set(CLASSES)
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction["size"]["class"] == max(probabilities, key=probabilities.__getitem__)
    alone = [predict(client, "sizes", [row]).json()["predictions"][0] for row in ROWS]
    for one, together in zip(alone, answer["predictions"], strict=True):
        assert one["size"]["probabilities"] == pytest.approx(together["size"]["probabilities"], abs=1e-5)


def test_embeddings_are_the_backbones_features(client: Http, model: ModelRow) -> None:
    answer = client.post("/v1/models/sizes/embeddings", json={"inputs": ROWS}).json()
    bundle = make_bundle()
    modality = bundle.manifest.modality
    features = bundle.backbone(modality.encode(modality.decode(ROWS))).detach().tolist()
    assert answer["model"]["id"] == model.id
    assert len(answer["embeddings"]) == len(features) == 2
    for row, expected in zip(answer["embeddings"], features, strict=True):
        assert row == pytest.approx(expected, abs=1e-6)


def test_a_backbone_gives_embeddings_and_no_predictions(client: Http, services: Services, project_id: str) -> None:
    add_model(services, project_id, "shapes", heads=False)
    assert "embeddings" in str(check_problem(predict(client, "shapes"), 409, "model_has_no_heads")["detail"])
    assert client.post("/v1/models/shapes/embeddings", json={"inputs": ROWS}).status_code == 200


BAD_ROWS: list[tuple[Any, list[Any]]] = [
    ([1, 2], ["inputs", 1]),
    ([1, 2, "three"], ["inputs", 1, "depth"]),
    ([1, True, 3], ["inputs", 1, "height"]),
    ({"hue": 4}, ["inputs", 1]),
    ({}, ["inputs", 1]),
    ({"width": 1, "height": 2, "hue": 4}, ["inputs", 1]),
    ("text", ["inputs", 1]),
    (None, ["inputs", 1]),
    ([1, 2, 10**400], ["inputs", 1, "depth"]),
    ([[1], 2, 3], ["inputs", 1, "width"]),
]


def test_a_bad_input_is_named_and_none_is_answered(client: Http, model: ModelRow) -> None:
    for row, place in BAD_ROWS:
        for what in ("predictions", "embeddings"):
            answer = client.post(f"/v1/models/{model.id}/{what}", json={"inputs": [ROWS[0], row]})
            body = check_problem(answer, 422, "invalid_input")
            assert body["errors"][0]["loc"] == place, row  # type: ignore[index]


def test_a_bad_body_is_refused(client: Http, model: ModelRow) -> None:
    bodies: list[Any] = [{}, {"inputs": []}, {"inputs": "x"}, {"inputs": [[1, 2, 3]], "k": 1}, [], None, 1]
    for body in bodies:
        check_problem(client.post(f"/v1/models/{model.id}/predictions", json=body), 422)


def test_keys_that_are_no_inputs_are_ignored_with_a_warning_or_refused(client: Http, model: ModelRow) -> None:
    row = {"width": 1, "height": "2.0", "depth": 3, "dept": 4}
    answer = predict(client, "sizes", [row, ROWS[0], row]).json()
    assert answer["predictions"][0] == predict(client, "sizes", [[1, 2, 3]]).json()["predictions"][0]
    (warning,) = answer["warnings"]
    assert (warning["code"], warning["count"], warning["rows"]) == ("ignored_keys", 2, [0, 2])
    assert "'dept' (unknown; did you mean 'depth'?)" in warning["message"]
    for url, body in (("?unknown=refuse", {}), ("", {"unknown": "refuse"})):
        for what in ("predictions", "embeddings"):
            refusal = client.post(f"/v1/models/sizes/{what}{url}", json={"inputs": [ROWS[0], row], **body})
            problem = check_problem(refusal, 422, "invalid_input")
            assert problem["errors"][0]["loc"] == ["inputs", 1, "dept"]  # type: ignore[index]
    lines = client.get("/metrics").text.splitlines()
    assert 'graftwork_warnings_total{code="ignored_keys"} 1.0' in lines


def test_one_row_needs_no_list_around_it(client: Http, model: ModelRow) -> None:
    answer = predict(client, "sizes", ROWS[1]).json()
    assert answer["predictions"] == predict(client, "sizes", [ROWS[1]]).json()["predictions"]


def test_too_many_inputs_are_refused(client: Http, model: ModelRow) -> None:
    assert len(predict(client, model.id, [[1, 2, 3]] * MAX_INPUTS).json()["predictions"]) == MAX_INPUTS
    check_problem(predict(client, model.id, [[1, 2, 3]] * (MAX_INPUTS + 1)), 422)


def test_overflow_is_refused_in_embeddings_and_finite_in_predictions(
    client: Http, services: Services, project_id: str
) -> None:
    add_model(services, project_id, "fine", gain=1e36)
    inputs = [ROWS[0], [3e38, 3e38, 3e38], [-3e38, -3e38, -3e38]]
    body = check_problem(client.post("/v1/models/fine/embeddings", json={"inputs": inputs}), 422, "invalid_input")
    assert {item["loc"][1] for item in body["errors"]} <= {1, 2}  # type: ignore[attr-defined]
    answer = predict(client, "fine", inputs)
    decoded = json.loads(answer.content, parse_constant=pytest.fail)
    for prediction in decoded["predictions"]:
        assert sum(prediction["size"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_body_over_the_limit_is_refused(app: FastAPI, client: Http, services: Services, model: ModelRow) -> None:
    small = services.settings.model_copy(update={"max_json_bytes": 1000})
    app.state.services = Services(**{**services.__dict__, "settings": small})
    url = f"/v1/models/{model.id}/predictions"
    assert predict(client, model.id).status_code == 200
    check_problem(predict(client, model.id, [[1, 2, 3]] * 1000), 413, "too_large")

    async def chunks() -> Any:
        yield b'{"inputs": ['
        for _ in range(1000):
            yield b"[1, 2, 3],"

    headers = {"content-type": "application/json"}
    check_problem(client.post(url, content=chunks(), headers=headers), 413, "too_large")
    packed = {**headers, "content-encoding": "gzip"}
    check_problem(client.post(url, content=b"{}", headers=packed), 415, "unsupported_media_type")


def test_a_warm_prediction_asks_no_database(client: Http, services: Services, model: ModelRow) -> None:
    """Keys and names are remembered for some seconds; a machine that takes longer for ten predictions tries again."""
    for _ in range(100):
        for ref in (model.id, "sizes"):
            assert predict(client, ref).status_code == 200
        before, started = services.database.statements, time.monotonic()
        for number in range(10):
            assert predict(client, (model.id, "sizes")[number % 2]).status_code == 200
        if time.monotonic() - started < 1.5:
            break
    assert services.database.statements == before


def test_many_at_once_load_a_model_once(client: Http, services: Services, model: ModelRow) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: predict(client, "sizes"), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert services.engine.loaded() == [model.id]


def test_an_alias_moves_at_once_here(client: Http, services: Services, project_id: str, model: ModelRow) -> None:
    second = add_model(services, project_id, "sizes", seed=1)
    for row in (model, second, model):
        client.put("/v1/models/sizes/aliases/best", json={"model": row.id})
        assert predict(client, "sizes@best").json()["model"]["id"] == row.id


def test_a_model_deleted_here_is_not_served_any_more(client: Http, services: Services, model: ModelRow) -> None:
    for ref in ("sizes", model.id):
        assert predict(client, ref).status_code == 200
    client.delete("/v1/models/sizes@1")
    for ref in ("sizes", model.id):
        check_problem(predict(client, ref), 404, "model_not_found")
    assert services.engine.loaded() == []


def test_what_another_process_changes_is_followed_within_two_seconds(
    client: Http, clock: Clock, app: FastAPI, project_id: str, database: Database, model: ModelRow
) -> None:
    assert predict(client, "sizes").json()["model"]["version"] == 1
    second = add_model(app.state.services, project_id, "sizes", seed=1)
    clock.now += 1.9
    assert predict(client, "sizes").json()["model"]["version"] == 1
    clock.now += 0.2
    wait_until(lambda: predict(client, "sizes").json()["model"]["id"] == second.id, "the new version is loaded")
    assert predict(client, model.id).status_code == 200
    with database.writing() as session:
        session.get_one(ModelRow, model.id).deleted_at = time.time()
    clock.now += 2.1
    check_problem(predict(client, model.id), 404, "model_not_found")


def test_a_damaged_model_is_not_served_until_it_is_restored(client: Http, services: Services, model: ModelRow) -> None:
    path = services.artifacts.fetch(blob_key(model.files["heads.safetensors"]["sha256"]))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    check_problem(predict(client, "sizes"), 500, "corrupt_artifact")
    path.write_bytes(whole)
    assert predict(client, "sizes").status_code == 200


def test_a_model_that_answers_otherwise_than_when_saved_is_not_served(
    client: Http, services: Services, project_id: str
) -> None:
    """Every byte is as stored, but the golden outputs are another model's."""
    first = add_model(services, project_id, "one", seed=1)
    other = add_model(services, project_id, "two", seed=2)
    with services.database.writing() as session:
        row = session.get_one(ModelRow, first.id)
        row.files = {**row.files, "golden.safetensors": other.files["golden.safetensors"]}
    check_problem(predict(client, first.id), 500, "corrupt_artifact")


def test_predicting_needs_its_own_scope(app: FastAPI, make_key: MakeKey, model: ModelRow) -> None:
    check_problem(predict(Http(app, make_key(scopes=("read", "write"))), model.id), 403, "missing_scope")
    only = Http(app, make_key(scopes=("predict",)))
    assert predict(only, model.id).status_code == 200
    check_problem(only.get("/v1/models"), 403, "missing_scope")
    check_problem(only.delete(f"/v1/models/{model.id}"), 403, "missing_scope")
