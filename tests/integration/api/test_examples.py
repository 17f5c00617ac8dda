"""Every request of the OpenAPI document has examples that work as they stand.

Examples refer to datasets and models by name, and those that come first make them. Paths hold ids, which no example
can know: each parameter is replaced by the id or name of what THINGS says, or, for what is done with a job, of a job
that is in the state for it. A file of a form is the text that stands in the example, sent as example.csv.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database("sqlite")  # what databases answer is tested elsewhere

NOT_TRIED = {
    "create_dataset application/json": "names an upload by its id, which no example can know (test_uploads.py)",
    "write_job_to_mlflow": "needs an MLflow server (tests/e2e/test_mlflow.py has one)",
    "import_model application/json": "needs published weights on the machine (test_published_weights.py)",
    "import_model multipart/form-data": "its file is a safetensors file, which no text is (test_imports.py)",
}
BINARY = "application/octet-stream"  # numbers or a file's bytes, which JSON cannot hold: test_bodies.py sends them
FIRST = ("create_dataset", "create_job", "create_heads", "set_alias", "create_webhook", "create_key", "create_upload")
LAST = ("delete_job", "delete_alias", "delete_model", "delete_dataset", "delete_webhook", "revoke_key", "delete_upload")
LABELLING = "set_up_label_studio predict_label_studio_tasks receive_label_studio_event"
DATASETS = {"delete_dataset": "flowers-split-again"}  # a version of it, which no job uses
REFERENCES = dict.fromkeys(LABELLING.split(), "comment-kinds") | {
    "create_generations": "comment-writer",
    "get_openai_model": "comment-writer",
    "delete_model": "flower-heads@1",
}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of every route: first what others refer to, last what ends something."""
    listed = [(method, path, it) for path, methods in document["paths"].items() for method, it in methods.items()]
    place = {name: number - len(FIRST) for number, name in enumerate(FIRST)}
    place |= {name: number for number, name in enumerate(LAST, 1)}
    yield from sorted(listed, key=lambda entry: place.get(entry[2]["operationId"], 0))


class World:
    """What examples have made, and jobs in the state that a request needs."""

    def __init__(self, client: Http, settings: Settings) -> None:
        self.client, self.settings = client, settings

    def first(self, path: str) -> str:
        (thing, *_) = self.client.get(path).json()["data"] or pytest.fail(f"{path} lists nothing")
        return str(thing["id"])

    def job(self, operation: str) -> str:
        """A job that the operation can be asked of."""
        example = {"kind": "pretraining", "dataset": "flowers", "training": {"epochs": 2}}
        if operation.startswith(("cancel", "pause", "set_", "resume", "retry")):
            job = str(self.client.post("/v1/jobs", json=example).json()["id"])
            before = {"resume": "pause", "retry": "cancel"}.get(operation.partition("_")[0])
            if before:
                self.client.post(f"/v1/jobs/{job}/{before}")
            return job
        kind = {"get_job_file": "batch_prediction", "delete_job": "evaluation"}.get(operation, "pretraining")
        return self.first(f"/v1/jobs?kind={kind}&status=succeeded&order=asc")

    def upload(self, operation: str) -> str:
        """An upload in parts, which has one where it is to be completed."""
        upload = self.first("/v1/uploads")
        if operation == "complete_upload":
            self.client.put(f"/v1/uploads/{upload}/parts/1", content=b"size\n1\n2\n")
        return upload

    def file(self, operation: str) -> str:
        """The name of a file, or of a model whose aliases are asked for."""
        if operation == "get_job_file":
            return str(self.client.get(f"/v1/jobs/{self.job(operation)}/files").json()["data"][0]["name"])
        return "manifest.json" if operation == "get_model_file" else "flower-kinds"


THINGS: dict[str, Callable[[World, str], str]] = {
    "dataset_id": lambda world, operation: world.first(f"/v1/datasets?name={DATASETS.get(operation, 'flowers')}"),
    "job_id": lambda world, operation: world.job(operation),
    "job_kind": lambda *_: "export",
    "kind": lambda *_: "learning",
    "ref": lambda _, operation: REFERENCES.get(operation, "flower-kinds"),
    "name": lambda world, operation: world.file(operation),
    "alias": lambda *_: "best",
    "version": lambda *_: "1",
    "key_id": lambda world, _: world.first("/v1/keys"),
    "upload_id": lambda world, operation: world.upload(operation),
    "webhook_id": lambda world, _: world.first("/v1/webhooks"),
    "delivery_id": lambda world, _: world.first(f"/v1/webhooks/{world.first('/v1/webhooks')}/deliveries"),
}


def examples(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The content type of each example of an operation, and what httpx sends of it; one of nothing without a body."""
    contents = operation.get("requestBody", {}).get("content", {})
    for content_type, media in contents.items():
        name = f"{operation['operationId']} {content_type}"
        if content_type == BINARY or name in NOT_TRIED or operation["operationId"] in NOT_TRIED:
            continue
        assert media.get("examples"), f"{name} has no example"
        for example in media["examples"].values():
            value = example["value"]
            yield content_type, {"json": value} if content_type == "application/json" else form(value, media["schema"])
    if not contents:
        yield "nothing", {}


def form(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    fields = dict(value)
    files = fields.pop("file")
    texts = {name: field if isinstance(field, str) else json.dumps(field) for name, field in fields.items()}
    contents = files if isinstance(files, list) else [files]
    assert set(fields) <= set(schema["properties"])
    return {"data": texts, "files": [("file", ("example.csv", content.encode())) for content in contents]}


def test_every_example_works(client: Http, settings: Settings) -> None:
    document, world = client.get("/openapi.json").json(), World(client, settings)
    tried, failed = 0, []
    for method, path, operation in operations(document):
        name = operation["operationId"]
        if name in NOT_TRIED:
            continue
        if name == LAST[0]:
            run_jobs(settings)
        expected = {int(status) for status in operation["responses"] if status.startswith("2")}
        for content_type, body in examples(operation):
            places = {parameter["name"]: THINGS[parameter["name"]](world, name) for parameter in in_path(operation)}
            answer = client.request(method.upper(), path.format(**places), **body)
            if answer.status_code not in expected:
                failed.append(f"{name} ({content_type}): {answer.status_code} {answer.text}")
            tried += 1
            if name in FIRST:  # what comes next refers to it
                run_jobs(settings)
    assert not failed, "\n".join(failed)
    run_jobs(settings)
    assert client.get("/v1/jobs?status=failed").json()["data"] == []  # what was begun ends well, too
    assert tried >= len(list(operations(document)))


def in_path(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "path"]


def test_what_is_not_tried_exists_and_every_kind_of_job_has_an_example(client: Http) -> None:
    document = client.get("/openapi.json").json()
    ids = {operation["operationId"] for _, _, operation in operations(document)}
    assert {name.partition(" ")[0] for name in NOT_TRIED} <= ids
    assert set(FIRST) | set(LAST) | set(REFERENCES) <= ids
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    kinds = {example["value"]["kind"] for example in body["examples"].values()}
    assert kinds == set(body["schema"]["discriminator"]["mapping"])
