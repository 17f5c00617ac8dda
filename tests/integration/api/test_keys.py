"""Keys are listed, made, revoked and rotated by administrators of their project."""

import time
from datetime import datetime

import pytest
from fastapi import FastAPI

from app import security
from app.db.session import Database
from app.keys.usage import KeyUsage
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.problems import check_problem

pytestmark = pytest.mark.one_database


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


def test_keys_of_other_projects_are_out_of_reach(app: FastAPI, client: Http, make_key: MakeKey) -> None:
    stranger = Http(app, make_key(project="another"))
    own = client.get("/v1/keys").json()["data"][0]["id"]
    check_problem(stranger.delete(f"/v1/keys/{own}"), 404, "key_not_found")
    check_problem(stranger.post(f"/v1/keys/{own}/rotate", json={}), 404, "key_not_found")
    assert own not in stranger.get("/v1/keys").text


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
    usage.write()
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
