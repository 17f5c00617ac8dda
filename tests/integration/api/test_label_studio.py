"""Label Studio's contract of ML backends: requests as Label Studio 1.23 sends them (label_studio/ml/api_connector.py,
label_studio/webhooks/utils.py), and in the last test a real Label Studio that sends them by itself.
"""

import base64
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fastapi import FastAPI

from app.dependencies import Services
from app.main import create_app
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.models import add_bundle, add_model, bundle_of, make_image_bundle

pytestmark = pytest.mark.one_database

SIZES = """<View><Table name="row" value="$row"/>
  <Choices name="size" toName="row" choice="single"><Choice value="large"/><Choice value="small"/></Choices></View>"""
PROJECT = "17.1795969406"


@pytest.fixture
def table(services: Services, project_id: str) -> str:
    """A backbone without heads."""
    return str(add_model(services, project_id, "boxes", heads=False).name)


def task(number: int, data: Any) -> dict[str, Any]:
    """A task as Label Studio serializes it, with fields that are of no interest here."""
    plain = {"id": number, "data": data, "meta": {}, "is_labeled": False, "overlap": 1, "project": 17}
    return {**plain, "created_at": "2026-11-29T16:00:00Z", "annotations": [], "predictions": [], "file_upload": None}


def box(number: int) -> dict[str, Any]:
    width, height, depth = np.random.default_rng(number).normal(size=3).round(3).tolist()
    return {"row": {"width": width, "height": height, "depth": depth}}


def size_of(data: dict[str, Any]) -> str:
    return "large" if data["row"]["width"] > 0 else "small"


def predict(client: Http, model: str, tasks: list[Any], config: str = SIZES, **headers: str) -> Any:
    params = {"login": None, "password": None, "context": None}
    body = {"tasks": tasks, "project": PROJECT, "label_config": config, "params": params}
    return client.post(f"/label-studio/{model}/predict", json=body, headers=headers)


def event(client: Http, model: str, action: str, config: str = SIZES, **payload: Any) -> Any:
    project = {"id": 17, "title": "Boxes", "label_config": config, "task_number": 3, "model_version": ""}
    return client.post(f"/label-studio/{model}/webhook", json={"action": action, **payload, "project": project})


def annotate(client: Http, number: int, data: Any, choices: list[str] | None, **more: Any) -> Any:
    config, action = more.pop("config", SIZES), more.pop("action", "ANNOTATION_CREATED")
    model, name = more.pop("model", "boxes"), more.pop("name", "size")
    region = {"id": "x1", "from_name": name, "to_name": "row", "type": "choices", "origin": "manual"}
    result = [] if choices is None else [{**region, "value": {"choices": choices}}]
    annotation = {
        "id": 1000 + number,
        "result": result,
        "was_cancelled": False,
        "task": number,
        "lead_time": 1.5,
        **more,
    }
    return event(client, model, action, config, annotation=annotation, task=task(number, data))


def label_all(client: Http, count: int = 24) -> Any:
    answer = None
    for number in range(count):
        answer = annotate(client, number, box(number), [size_of(box(number))])
        assert answer.status_code == 200, answer.text
    return answer


# ---- connecting -----------------------------------------------------------------------------------------------------


def test_health_and_setup_say_that_the_model_is_there(client: Http, table: str) -> None:
    assert client.get("/label-studio/boxes/health").json() == {"status": "UP", "model_class": "Graftwork"}
    body = {"project": PROJECT, "schema": SIZES, "hostname": "http://localhost:8080", "access_token": "t" * 40}
    setup = client.post("/label-studio/boxes/setup", json={**body, "extra_params": None})
    assert setup.json() == {"model_version": "boxes@1"}
    versions = client.request("GET", "/label-studio/boxes/versions", json={"project": PROJECT})
    assert versions.json() == {"versions": ["boxes@1"]}
    assert client.get("/label-studio/none/health").status_code == 404


def test_a_key_comes_as_the_password_of_basic_as_label_studio_sends_it(
    app: FastAPI, client: Http, table: str, key: str
) -> None:
    def status(user: str, password: str, path: str = "/label-studio/boxes/health") -> int:
        shown = base64.b64encode(f"{user}:{password}".encode()).decode()
        return Http(app).get(path, headers={"Authorization": f"Basic {shown}"}).status_code

    assert status("graftwork", key) == 200
    assert status("", key) == 200
    assert status("graftwork", "w" * 43) == 401
    assert status(key, "") == 401
    assert status("graftwork", key, "/v1/models") == 401, "browsers send Basic by themselves, whoever makes them ask"
    assert status("graftwork", key, "/v2") == 401
    assert Http(app).get("/label-studio/boxes/health", headers={"Authorization": "Basic ***"}).status_code == 401


def test_predicting_and_learning_need_their_scopes(app: FastAPI, make_key: MakeKey, table: str) -> None:
    predicting, writing = Http(app, make_key(scopes=("predict",))), Http(app, make_key(scopes=("write",)))
    assert predict(predicting, "boxes", [task(1, box(1))]).status_code == 200
    assert event(predicting, "boxes", "PROJECT_UPDATED").status_code == 403
    assert predict(writing, "boxes", [task(1, box(1))]).status_code == 403
    assert event(writing, "boxes", "PROJECT_UPDATED").status_code == 200


# ---- learning -------------------------------------------------------------------------------------------------------


def test_annotations_become_versions_that_answer(client: Http, table: str) -> None:
    tasks = [task(number, box(number)) for number in range(100, 110)]
    before = predict(client, "boxes", tasks).json()
    assert [result["result"] for result in before["results"]] == [[]] * 10
    label_all(client)
    answer = event(client, "boxes", "START_TRAINING")
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"] == 24
    version = answer.json()["model_version"]
    after = predict(client, "boxes", tasks).json()
    assert after["model_version"] == version
    choices = [result["result"][0]["value"]["choices"][0] for result in after["results"]]
    assert sum(choice == size_of(each["data"]) for choice, each in zip(choices, tasks, strict=True)) >= 8
    first = after["results"][0]
    region = first["result"][0]
    assert {key: region[key] for key in ("from_name", "to_name", "type")} == {
        "from_name": "size",
        "to_name": "row",
        "type": "choices",
    }
    assert 0.5 <= region["score"] <= 1
    assert (first["score"], first["model_version"]) == (region["score"], version)
    model = client.get("/v1/models/boxes").json()
    assert (model["origin"], f"{model['name']}@{model['version']}") == ("rows", version)
    assert model["parent"] == client.get("/v1/models/boxes@1").json()["id"], "each version is made of the backbone"


def test_a_version_is_made_for_each_tenth_of_new_rows(client: Http, table: str) -> None:
    versions = []
    for number in range(30):
        answer = annotate(client, number, box(number), [size_of(box(number))]).json()
        versions.append(answer["model_version"])
        assert (answer["model_version"] is None) == (answer["reason"] is not None)
    assert versions[:3] == [None] * 3
    made = [version for version in versions if version]
    assert 10 < len(made) < 25
    assert event(client, "boxes", "START_TRAINING").json()["model_version"] is not None


def test_a_changed_annotation_replaces_the_label_and_a_deleted_one_goes(client: Http, table: str) -> None:
    label_all(client)
    for number in range(24):
        other = "small" if size_of(box(number)) == "large" else "large"
        annotate(client, number, box(number), [other], action="ANNOTATION_UPDATED")
    assert event(client, "boxes", "START_TRAINING").json()["rows"] == 24
    results = predict(client, "boxes", [task(number, box(number)) for number in range(24)]).json()["results"]
    same = sum(each["result"][0]["value"]["choices"] == [size_of(box(n))] for n, each in enumerate(results))
    assert same < 12, "the labels that were changed are learned, and those before them are not"
    gone = event(client, "boxes", "ANNOTATIONS_DELETED", annotations=[{"id": 1000}, {"id": 1001}])
    assert gone.json()["reason"] == "2 rows were forgotten"
    event(client, "boxes", "TASKS_DELETED", tasks=[{"id": 2}])
    annotate(client, 3, box(3), ["large"], was_cancelled=True)
    assert event(client, "boxes", "START_TRAINING").json()["rows"] == 20


def test_events_that_say_nothing_of_labels_are_answered(client: Http, table: str) -> None:
    for action in ("PROJECT_UPDATED", "TASKS_CREATED", "ANNOTATIONS_CREATED", "SOMETHING_NEW"):
        answer = event(client, "boxes", action, tasks=[{"id": 1}])
        assert (answer.status_code, answer.json()["model_version"]) == (200, None)
    assert event(client, "boxes", "START_TRAINING").json()["reason"].startswith("0 rows are labelled")
    for number in range(8):
        answer = annotate(client, number, box(number), ["large"])
    assert "the same label" in answer.json()["reason"]


def test_rows_of_two_projects_are_apart(app: FastAPI, client: Http, make_key: MakeKey, table: str) -> None:
    label_all(client, 8)
    other = {"id": 18, "label_config": SIZES}
    body = {"action": "START_TRAINING", "project": other}
    assert client.post("/label-studio/boxes/webhook", json=body).json()["rows"] == 0
    stranger = Http(app, make_key(project="another"))
    assert event(stranger, "boxes", "START_TRAINING").status_code == 404


def test_several_choices_are_learned_as_labels(client: Http, table: str) -> None:
    config = SIZES.replace('choice="single"', 'choice="multiple"')
    for number in range(24):
        data = box(number)
        choices = [name for name, side in (("large", "width"), ("small", "height")) if data["row"][side] > 0]
        answer = annotate(client, number, data, choices or None, config=config)
        assert answer.status_code == 200, answer.text
    answer = event(client, "boxes", "START_TRAINING", config)
    assert answer.json()["model_version"], answer.text
    results = predict(client, "boxes", [task(n, box(n)) for n in range(24)], config).json()["results"]
    chosen = [tuple(result["result"][0]["value"]["choices"]) if result["result"] else () for result in results]
    assert len(set(chosen)) > 2


def test_a_version_or_an_alias_can_answer_but_not_learn(client: Http, table: str) -> None:
    label_all(client)
    version = event(client, "boxes", "START_TRAINING").json()["model_version"]
    assert predict(client, version, [task(1, box(1))]).json()["model_version"] == version
    refused = event(client, version, "START_TRAINING")
    assert (refused.status_code, "use boxes in the URL" in refused.text) == (400, True)


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_texts_and_series_and_whole_tasks_are_rows(client: Http, services: Services, project_id: str) -> None:
    config = '<View><{tag} name="it" value="$it"/><Choices name="label" toName="it"/></View>'
    add_bundle(services, project_id, "words", bundle_of("text"))
    answer = predict(client, "words", [task(1, {"it": "some words"})], config.format(tag="Text")).json()
    assert answer["results"][0]["result"][0]["to_name"] == "it"
    series = add_bundle(services, project_id, "waves", bundle_of("series"))
    (example,) = client.get(f"/v1/models/{series.id}").json()["signature"]["example"]["inputs"]
    answer = predict(client, "waves", [task(1, {"it": example})], config.format(tag="TimeSeries"))
    assert answer.json()["results"][0]["result"], answer.text
    (row,) = client.get(f"/v1/models/{add_bundle(services, project_id, 'rows', bundle_of('table')).id}").json()[
        "signature"
    ]["example"]["inputs"]
    answer = predict(client, "rows", [task(1, {**row, "it": "shown"})], config.format(tag="Text"))
    assert answer.json()["results"][0]["result"], answer.text


def picture(value: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


IMAGES = """<View><Image name="image" value="$image"/>
  <Choices name="tone" toName="image"><Choice value="dark"/><Choice value="light"/></Choices></View>"""


@pytest.fixture
def files() -> Iterator[tuple[str, list[str]]]:
    """Label Studio's files, given to its token alone; and what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            known = self.headers["authorization"] == "Token secret"
            body = picture(int(self.path.rsplit("-", 1)[-1])) if known else b""
            self.send_response(200 if known else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_pictures_are_inline_or_read_from_the_operators_label_studio_alone(
    settings: Settings, services: Services, project_id: str, key: str, files: tuple[str, list[str]]
) -> None:
    url, asked = files
    changed = {"label_studio_url": url, "label_studio_token": "secret"}
    application = create_app(Settings(**{**settings.model_dump(), **changed}), services.queue)
    client = Http(application, key)
    add_bundle(services, project_id, "pictures", make_image_bundle(8, 8))

    def label(number: int, value: Any, tone: str) -> Any:
        return annotate(client, number, {"image": value}, [tone], model="pictures", name="tone", config=IMAGES)

    for number in range(12):
        tone, grey = ("dark", 10 + number) if number % 2 else ("light", 200 + number)
        inline = f"data:image/png;base64,{base64.b64encode(picture(grey)).decode()}"
        assert label(number, inline, tone).status_code == 200
        assert label(100 + number, f"/data/upload/1/a-{grey}", tone).status_code == 200
        assert label(200 + number, f"{url}/data/upload/1/b-{grey}", tone).status_code == 200
    assert len(asked) == 24
    assert event(client, "pictures", "START_TRAINING", IMAGES).json()["rows"] == 36
    tasks = [task(1, {"image": "/data/upload/1/c-15"}), task(2, {"image": "/data/upload/1/c-205"})]
    results = predict(client, "pictures", tasks, IMAGES).json()["results"]
    assert [result["result"][0]["value"]["choices"] for result in results] == [["dark"], ["light"]]
    before = len(asked)
    for elsewhere in (
        "http://169.254.169.254/data/x",
        f"{url}@evil.example/data/upload/1/a-1",
        f"{url}.evil.example/data/upload/1/a-1",
        f"{url}/api/projects",
        "/data/../api/projects",
        "s3://bucket/x.png",
    ):
        refused = predict(client, "pictures", [task(1, {"image": elsewhere})], IMAGES)
        assert (refused.status_code, "tasks.0: this URL is not read" in refused.text) == (400, True), elsewhere
    assert len(asked) == before
    application.state.services.database.close()


@pytest.mark.parametrize(
    ("config", "data", "words"),
    [
        ("<View>", {"row": {}}, "is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View/>', {"row": {}}, "declares no document type"),
        ("<View/>", {"row": {}}, "models answer choices"),
        (SIZES, None, "tasks.0: the task has no data"),
        (SIZES, {"row": "http://x/y.csv"}, "tasks.0: the keys do not match the columns"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_word(
    client: Http, services: Services, project_id: str, config: str, data: Any, words: str
) -> None:
    add_model(services, project_id, "sizes")
    answer = predict(client, "sizes", [{"id": 1, "data": data}], config)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert words in answer.json()["error"]


def test_a_row_that_cannot_be_read_keeps_no_other_from_being_learned(client: Http, table: str) -> None:
    label_all(client, 8)
    refused = annotate(client, 99, {"row": {"width": "wide", "height": [], "depth": 1}}, ["large"])
    assert refused.status_code == 400
    assert "tasks.0" in refused.json()["error"]
    assert event(client, "boxes", "START_TRAINING").json()["rows"] == 8


def test_an_answer_that_is_no_choice_of_the_project_is_left_out(
    client: Http, services: Services, project_id: str
) -> None:
    add_model(services, project_id, "sizes")
    config = SIZES.replace("large", "big").replace("small", "little")
    (result,) = predict(client, "sizes", [task(1, box(1))], config).json()["results"]
    assert (result["result"], result["score"]) == ([], 0)
