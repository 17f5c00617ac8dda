"""Keys are listed, made, revoked and rotated by administrators, those of their own project and of others."""

import time
from datetime import datetime
from pathlib import Path

import pytest
from fastapi import FastAPI

from app import security
from app.db.session import Database
from app.db.tables import ApiKeyRow
from app.dependencies import Services
from app.keys import repository
from app.keys.usage import KeyUsage
from app.main import create_app
from app.predictions import questions
from app.queue import MemoryQueue
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.servers import wait_until

pytestmark = pytest.mark.one_database

CACHE_SECONDS = security._CACHE_SECONDS


@pytest.fixture(autouse=True)
def brief_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are looked up anew each time: what the cache does is tested with the scopes."""
    monkeypatch.setattr(security, "_CACHE_SECONDS", 0.0)


def opens(app: FastAPI, secret: str) -> bool:
    return Http(app, secret).get("/v1/jobs").status_code == 200


def test_a_key_is_made_listed_and_revoked(app: FastAPI, client: Http) -> None:
    made = client.post("/v1/keys", json={"name": "a laptop", "scopes": ["read"]})
    assert made.status_code == 201
    key = made.json()
    secret = key.pop("secret")
    assert opens(app, secret)
    assert Http(app, secret).post("/v1/datasets").status_code == 403
    listed = client.get("/v1/keys")
    assert secret not in listed.text
    assert listed.json()["data"][0] == key
    assert [entry["name"] for entry in listed.json()["data"]] == ["a laptop", "test"]
    revoked = client.delete(f"/v1/keys/{key['id']}").json()
    assert revoked["revoked_at"] is not None
    assert not opens(app, secret)
    assert client.delete(f"/v1/keys/{key['id']}").json() == revoked
    check_problem(client.post(f"/v1/keys/{key['id']}/rotate", json={}), 409, "key_not_valid")
    check_problem(client.delete("/v1/keys/key_x"), 404, "key_not_found")


def test_a_key_expires(app: FastAPI, client: Http) -> None:
    made = client.post("/v1/keys", json={"name": "brief", "expires_in": 0.2}).json()
    assert made["scopes"] == ["read", "write", "predict"]
    time.sleep(0.25)
    assert not opens(app, made["secret"])


def test_rotation_leaves_time_to_change(app: FastAPI, client: Http) -> None:
    old = client.post("/v1/keys", json={"name": "a robot", "scopes": ["read", "predict"]}).json()
    new = client.post(f"/v1/keys/{old['id']}/rotate", json={"overlap": 60}).json()
    assert (new["name"], new["scopes"]) == ("a robot", ["read", "predict"])
    assert opens(app, old["secret"])
    assert opens(app, new["secret"])
    (row,) = [entry for entry in client.get("/v1/keys").json()["data"] if entry["id"] == old["id"]]
    left = datetime.fromisoformat(row["expires_at"]).timestamp() - time.time()
    assert 0 < left <= 60
    newest = client.post(f"/v1/keys/{new['id']}/rotate", json={"overlap": 0}).json()
    assert not opens(app, new["secret"])
    assert opens(app, newest["secret"])


def test_the_last_key_that_may_administer_stays(app: FastAPI, client: Http) -> None:
    own = client.get("/v1/keys").json()["data"][0]["id"]
    check_problem(client.delete(f"/v1/keys/{own}"), 409, "last_admin_key")
    other = client.post("/v1/keys", json={"name": "another", "scopes": ["admin"]}).json()
    assert client.delete(f"/v1/keys/{own}").status_code == 200
    assert [entry["name"] for entry in Http(app, other["secret"]).get("/v1/keys").json()["data"]] == ["another", "test"]


def test_an_expired_key_administers_nothing(client: Http) -> None:
    own = client.get("/v1/keys").json()["data"][0]["id"]
    client.post("/v1/keys", json={"name": "brief", "scopes": ["admin"], "expires_in": 0.1})
    time.sleep(0.15)
    check_problem(client.delete(f"/v1/keys/{own}"), 409, "last_admin_key")


def test_a_rotation_prolongs_no_key(client: Http) -> None:
    old = client.post("/v1/keys", json={"name": "brief", "expires_in": 60}).json()
    client.post(f"/v1/keys/{old['id']}/rotate", json={"overlap": 3600})
    (row,) = [entry for entry in client.get("/v1/keys").json()["data"] if entry["id"] == old["id"]]
    assert row["expires_at"] == old["expires_at"]


def test_uses_wait_for_a_database_that_is_away_and_a_later_one_stays(
    database: Database, tmp_path: Path, client: Http
) -> None:
    key_id = client.get("/v1/keys").json()["data"][0]["id"]
    away = Database(f"sqlite:///{tmp_path}/nowhere/graftwork.db")
    usage = KeyUsage(away)
    usage.note(key_id)
    used = usage._used[key_id]
    usage.act()
    away.close()
    usage._database = database
    usage.act()
    for earlier in (0.0, 100.0):
        with database.writing() as session:
            assert session.get_one(ApiKeyRow, key_id).last_used_at == used
            repository.note_uses(session, {key_id: used - earlier})
    with database.reading() as session:
        assert session.get_one(ApiKeyRow, key_id).last_used_at == used


def test_keys_of_other_projects_are_out_of_reach(app: FastAPI, client: Http, make_key: MakeKey) -> None:
    stranger = Http(app, make_key(project="another"))
    own = client.get("/v1/keys").json()["data"][0]["id"]
    check_problem(stranger.delete(f"/v1/keys/{own}"), 404, "key_not_found")
    check_problem(stranger.post(f"/v1/keys/{own}/rotate", json={}), 404, "key_not_found")
    assert own not in stranger.get("/v1/keys").text


def test_administrators_reach_the_keys_of_every_project(app: FastAPI, client: Http) -> None:
    check_problem(client.get("/v1/keys?project=labs"), 404, "project_not_found")
    made = client.post("/v1/keys", json={"name": "robot", "project": "labs", "scopes": ["read"]}).json()
    assert opens(app, made["secret"])
    chief = client.post("/v1/keys", json={"name": "chief", "project": "labs", "scopes": ["admin"]}).json()
    own = Http(app, chief["secret"]).get("/v1/keys").json()
    assert [key["name"] for key in own["data"]] == ["chief", "robot"]
    (labs,) = [item for item in client.get("/v1/admin/projects").json()["data"] if item["name"] == "labs"]
    for project in ("labs", labs["id"]):
        assert client.get("/v1/keys", params={"project": project}).json() == own
    assert {"chief", "robot"}.isdisjoint(key["name"] for key in client.get("/v1/keys").json()["data"])

    url = f"/v1/keys/{made['id']}"
    for project, code in (("", "key_not_found"), ("?project=nowhere", "project_not_found")):
        check_problem(client.delete(url + project), 404, code)
        check_problem(client.post(f"{url}/rotate{project}", json={}), 404, code)
    assert opens(app, made["secret"])
    rotated = client.post(f"{url}/rotate?project=labs", json={"overlap": 0}).json()
    assert (rotated["name"], opens(app, rotated["secret"]), opens(app, made["secret"])) == ("robot", True, False)
    assert client.delete(f"/v1/keys/{rotated['id']}?project=labs").json()["revoked_at"] is not None
    assert not opens(app, rotated["secret"])
    check_problem(client.delete(f"/v1/keys/{chief['id']}?project=labs"), 409, "last_admin_key")


def test_a_revoked_key_opens_nothing_in_another_process(
    settings: Settings,
    services: Services,
    project_id: str,
    client: Http,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert CACHE_SECONDS + questions.KEY_SECONDS <= 5
    monkeypatch.setattr(security, "_CACHE_SECONDS", 0.4)
    monkeypatch.setattr(questions, "KEY_SECONDS", 0.1)
    add_model(services, project_id, "sizes")
    made = client.post("/v1/keys", json={"name": "a robot", "scopes": ["read", "predict"]}).json()
    other = create_app(settings, queue=MemoryQueue())
    far, url = Http(other, made["secret"]), "/v1/models/sizes/predictions"

    def statuses() -> set[int]:
        """Of both ways of predicting, and of a request that no model answers."""
        asked = [far.post(url + query, json={"inputs": [[1, 2, 3]]}) for query in ("", "?unknown=warn")]
        return {answer.status_code for answer in (*asked, far.get("/v1/jobs"))}

    assert statuses() == {200}
    assert client.delete(f"/v1/keys/{made['id']}").status_code == 200
    wait_until(lambda: statuses() == {401}, "the key is refused in every way")
    other.state.services.database.close()


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "x", "scopes": ["root"]}, {"name": "x", "scopes": []}, {"name": "x", "expires_in": 0}],
)
def test_a_request_for_a_key_is_checked(client: Http, body: dict[str, object]) -> None:
    check_problem(client.post("/v1/keys", json=body), 422)


def test_the_last_use_is_written_by_and_by(app: FastAPI, client: Http, database: Database) -> None:
    assert client.get("/v1/keys").json()["data"][0]["last_used_at"] is None
    usage: KeyUsage = app.state.key_usage
    before = app.state.services.database.statements
    client.get("/v1/keys")
    assert app.state.services.database.statements <= before + 4  # nothing is written on the way
    usage.act()
    used = datetime.fromisoformat(client.get("/v1/keys").json()["data"][0]["last_used_at"])
    assert abs(used.timestamp() - time.time()) < 60
    usage.start()
    usage.stop()


def test_an_event_stream_ends_with_its_key(
    settings: Settings, client: Http, database: Database, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.stream._KEY_SECONDS", 0.0)
    app = create_app(settings, queue=MemoryQueue())
    job = client.post("/v1/datasets", files={"file": ("a.csv", b"a,b\n1,2\n")}, data={"name": "rows"}).json()["job"]
    made = client.post("/v1/keys", json={"name": "a screen", "scopes": ["read"], "expires_in": 0.5}).json()
    answer = Http(app, made["secret"]).get(f"/v1/jobs/{job}/events", headers={"accept": "text/event-stream"})
    assert answer.status_code == 200  # it has ended, or there would be no answer
    assert answer.text.startswith(": following")
    assert app.state.services.shares.streams.total == 0
    app.state.services.database.close()


def test_an_event_stream_has_a_longest_life(settings: Settings, key: str, client: Http) -> None:
    job = client.post("/v1/datasets", files={"file": ("a.csv", b"a,b\n1,2\n")}, data={"name": "rows"}).json()["job"]
    app = create_app(settings.model_copy(update={"stream_seconds": 0.3}), queue=MemoryQueue())
    answer = Http(app, key).get(f"/v1/jobs/{job}/events", headers={"accept": "text/event-stream"})
    assert answer.status_code == 200
    assert answer.text.count("id: ") == 1
    app.state.services.database.close()
