import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from app.artifacts import blob_key
from app.db.session import Database
from app.db.tables import AliasRow, JobRow, ModelRow
from app.dependencies import Services
from app.kit.ids import new_id
from app.models import service as models
from tests.support.http import Http
from tests.support.models import CLASSES, add_model
from tests.support.problems import check_problem


@pytest.fixture
def backbone(services: Services, project_id: str) -> ModelRow:
    return add_model(services, project_id, "shapes", heads=False)


def add_job(database: Database, project_id: str, **fields: Any) -> str:
    job_id = new_id("job")
    defaults = {"kind": "fine_tuning", "status": "queued", "config": {}, "job_metadata": {}}
    times = {"created_at": 1.0, "queued_at": 1.0}
    with database.writing() as session:
        session.add(JobRow(id=job_id, project_id=project_id, **{**defaults, **times, **fields}))
    return job_id


def test_a_model_tells_what_it_is(client: Http, services: Services, project_id: str, backbone: ModelRow) -> None:
    row = add_model(services, project_id, "sizes", parent_id=backbone.id, job_id="job_1", dataset_id="ds_1")
    model = client.get("/v1/models/sizes").json()
    assert (model["id"], model["name"], model["version"], model["kind"]) == (row.id, "sizes", 1, "fine_tuned")
    assert model["modality"] == "table"
    assert model["backbone"]["hidden"] == [4]
    assert model["heads"] == [
        {"name": "size", "kind": "classifier", "target": "size", "targets": ["size"], "classes": list(CLASSES)}
    ]
    assert (model["method"], model["strategy"]["kind"]) == (None, "linear_probe")
    assert (model["job"], model["dataset"], model["parent"]) == ("job_1", "ds_1", backbone.id)
    assert model["metrics"] == {"val/accuracy": 0.9}
    assert [file["name"] for file in model["files"]] == sorted(row.files)
    assert model["links"]["predictions"] == f"/v1/models/{row.id}/predictions"
    below = client.get(f"/v1/models/{backbone.id}").json()
    assert (below["kind"], below["heads"], below["strategy"]) == ("backbone", [], None)
    assert below["method"]["kind"] == "autoencoder"
    assert below["links"]["predictions"] is None


def test_every_form_of_reference_finds_its_version(client: Http, services: Services, project_id: str) -> None:
    first, second = (add_model(services, project_id, "sizes") for _ in range(2))
    assert (first.version, second.version) == (1, 2)
    assert client.put("/v1/models/sizes/aliases/best", json={"model": "sizes@1"}).status_code == 200
    meant = {"sizes": second, "sizes@1": first, "sizes@2": second, "sizes@best": first, first.id: first}
    for ref, row in meant.items():
        assert client.get(f"/v1/models/{ref}").json()["id"] == row.id
    for ref in ("sizes@3", "sizes@worst", "size", new_id("mdl"), "a@b@c", "%2e%2e", "ä", "x" * 250):
        check_problem(client.get(f"/v1/models/{ref}"), 404, "model_not_found")
    check_problem(client.get(f"/v1/models/{'x' * 251}"), 422)


def test_lists_are_filtered(client: Http, services: Services, project_id: str, backbone: ModelRow) -> None:
    sizes = add_model(services, project_id, "sizes")
    assert [one["id"] for one in client.get("/v1/models").json()["data"]] == [sizes.id, backbone.id]
    assert [one["id"] for one in client.get("/v1/models?name=shapes").json()["data"]] == [backbone.id]
    assert [one["id"] for one in client.get("/v1/models?kind=fine_tuned").json()["data"]] == [sizes.id]
    assert client.get("/v1/models?limit=1").json()["has_more"]
    check_problem(client.get("/v1/models?kind=zip"), 422)


def test_an_alias_moves_and_keeps_to_its_name(client: Http, services: Services, project_id: str) -> None:
    first, second = (add_model(services, project_id, "sizes") for _ in range(2))
    other = add_model(services, project_id, "others")
    for row in (first, second):
        alias = client.put("/v1/models/sizes/aliases/production", json={"model": row.id}).json()
        assert (alias["model"], alias["version"], alias["alias"]) == (row.id, row.version, "production")
        assert client.get("/v1/models/sizes@production").json()["id"] == row.id
    assert client.get("/v1/models/sizes").json()["aliases"] == ["production"]
    assert client.get("/v1/models/sizes@1").json()["aliases"] == []
    check_problem(client.put("/v1/models/sizes/aliases/x", json={"model": other.id}), 422)
    check_problem(client.put("/v1/models/sizes/aliases/17", json={"model": first.id}), 422)
    check_problem(client.put("/v1/models/sizes/aliases/x", json={"model": "nothing"}), 404)
    check_problem(client.put("/v1/models/sizes/aliases/x", json={"model": first.id, "force": True}), 422)
    check_problem(client.put("/v1/models/sizes/aliases/x", json={"model": 17}), 422)


def test_a_deleted_version_is_never_given_again(client: Http, services: Services, project_id: str) -> None:
    first, second = (add_model(services, project_id, "sizes") for _ in range(2))
    client.put("/v1/models/sizes/aliases/best", json={"model": second.id})
    assert client.delete("/v1/models/sizes@2").status_code == 204
    for ref in ("sizes@2", "sizes@best", second.id):
        check_problem(client.get(f"/v1/models/{ref}"), 404)
    assert client.get("/v1/models/sizes").json()["id"] == first.id
    with services.database.reading() as session:
        assert session.scalars(select(AliasRow)).all() == []
    assert add_model(services, project_id, "sizes").version == 3


def test_a_model_that_a_job_starts_from_stays(
    client: Http, database: Database, project_id: str, backbone: ModelRow
) -> None:
    job_id = add_job(database, project_id, parent_model_id=backbone.id)
    assert job_id in str(check_problem(client.delete("/v1/models/shapes@1"), 409, "in_use")["detail"])
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(status="succeeded"))
    assert client.delete("/v1/models/shapes@1").status_code == 204


def test_a_job_registers_once_and_versions_are_unique(services: Services, project_id: str) -> None:
    row = add_model(services, project_id, "sizes", job_id="job_1")
    with pytest.raises(IntegrityError):
        add_model(services, project_id, "sizes", job_id="job_1")
    with pytest.raises(IntegrityError), services.database.writing() as session:
        session.add(ModelRow(**{**columns(row), "id": new_id("mdl"), "job_id": None}))
    assert add_model(services, project_id, "sizes").version == 2


def columns(row: ModelRow) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in ModelRow.__table__.columns}


def test_lineage_goes_up_to_the_root_and_down_one(
    client: Http, services: Services, project_id: str, backbone: ModelRow
) -> None:
    middle = add_model(services, project_id, "middle", parent_id=backbone.id, job_id="job_2", dataset_id="ds_2")
    leaf = add_model(services, project_id, "leaf", parent_id=middle.id)
    client.delete("/v1/models/shapes@1")
    lineage = client.get("/v1/models/leaf/lineage").json()
    assert lineage["model"]["id"] == leaf.id
    assert [one["id"] for one in lineage["ancestors"]] == [middle.id, backbone.id]
    assert [one["deleted"] for one in lineage["ancestors"]] == [False, True]
    assert (lineage["ancestors"][0]["job"], lineage["ancestors"][0]["dataset"]) == ("job_2", "ds_2")
    below = client.get("/v1/models/middle/lineage").json()
    assert [one["id"] for one in below["children"]] == [leaf.id]
    assert lineage["children"] == []


def test_files_are_given_with_their_digest(client: Http, services: Services, backbone: ModelRow) -> None:
    sha256 = backbone.files["backbone.safetensors"]["sha256"]
    answer = client.get("/v1/models/shapes/files/backbone.safetensors")
    assert hashlib.sha256(answer.content).hexdigest() == sha256
    assert answer.headers["etag"] == f'"{sha256}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
    assert answer.headers["content-disposition"] == 'attachment; filename="backbone.safetensors"'
    for name in ("heads.safetensors", "..%2fgraftwork.db", "x"):
        assert client.get(f"/v1/models/shapes/files/{name}").status_code == 404
    assert services


def test_a_damaged_or_lost_file_is_not_given(client: Http, services: Services, backbone: ModelRow) -> None:
    path: Path = services.artifacts.fetch(blob_key(backbone.files["backbone.safetensors"]["sha256"]))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    check_problem(client.get("/v1/models/shapes/files/backbone.safetensors"), 500, "corrupt_artifact")
    path.unlink()
    check_problem(client.get("/v1/models/shapes/files/backbone.safetensors"), 500, "corrupt_artifact")


def test_resolving_is_what_jobs_use_too(services: Services, project_id: str, backbone: ModelRow) -> None:
    with services.database.reading() as session:
        assert models.resolve(session, project_id, "shapes@1").id == backbone.id
