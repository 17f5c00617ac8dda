"""Aliases: moved whole, under load, by several at once; listed, deleted, rolled back; each with its history."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select

from app.artifacts import blob_key
from app.db.tables import AliasChangeRow, ModelRow
from app.dependencies import Services
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem

PRODUCTION = "/v1/models/sizes/aliases/production"
INPUTS = {"inputs": [[1, 2, 3], [4, 5, 6]]}


@pytest.fixture
def versions(services: Services, project_id: str) -> list[ModelRow]:
    """Three versions that answer differently."""
    return [add_model(services, project_id, "sizes", seed=seed) for seed in range(3)]


def point(client: Http, ref: str, **headers: str) -> dict[str, Any]:
    answer = client.put(PRODUCTION, json={"model": ref}, headers=headers)
    assert answer.status_code == 200, answer.text
    alias: dict[str, Any] = answer.json()
    assert answer.headers["etag"] == f'"{alias["revision"]}"'
    return alias


@pytest.mark.one_database
def test_no_request_fails_while_an_alias_moves(client: Http, versions: list[ModelRow]) -> None:
    expected = {v.version: client.post(f"/v1/models/{v.id}/predictions", json=INPUTS).json() for v in versions}
    assert len({str(answer["predictions"]) for answer in expected.values()}) == 3
    point(client, "sizes@1")

    def ask(query: str) -> httpx.Response:
        return client.post(f"/v1/models/sizes@production/predictions{query}", json=INPUTS)

    asking = []
    with ThreadPoolExecutor(4) as threads:
        for move in range(50):
            asking += [threads.submit(ask, query) for query in ("", "?unknown=warn", "")]  # both ways of answering
            point(client, f"sizes@{1 + move % 3}")
    answers = [future.result() for future in asking]
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json() == expected[answer.json()["model"]["version"]] for answer in answers)
    assert {answer.json()["model"]["version"] for answer in answers} == {1, 2, 3}
    assert client.get(PRODUCTION).json()["version"] == 2


@pytest.mark.one_database
@pytest.mark.usefixtures("versions")
def test_aliases_are_listed_and_deleted(client: Http) -> None:
    assert client.get("/v1/models/sizes/aliases").json() == {"object": "list", "data": []}
    point(client, "sizes@2")
    client.put("/v1/models/sizes/aliases/canary", json={"model": "sizes"})
    listed = client.get("/v1/models/sizes/aliases").json()["data"]
    assert [(alias["alias"], alias["version"], alias["revision"]) for alias in listed] == [
        ("canary", 3, 1),
        ("production", 2, 1),
    ]
    assert client.get(PRODUCTION).json() == listed[1]
    assert client.post("/v1/models/sizes@production/predictions", json=INPUTS).status_code == 200
    assert client.delete(PRODUCTION).status_code == 204
    for answer in (client.get(PRODUCTION), client.delete(PRODUCTION), client.post(f"{PRODUCTION}/rollback")):
        check_problem(answer, 404, "alias_not_found")
    check_problem(client.post("/v1/models/sizes@production/predictions", json=INPUTS), 404, "model_not_found")
    assert [change["action"] for change in client.get(f"{PRODUCTION}/history").json()["data"]] == ["deleted", "set"]
    assert point(client, "sizes@1")["revision"] == 3  # no revision means two things
    check_problem(client.get("/v1/models/nothing/aliases"), 404, "model_not_found")
    check_problem(client.get("/v1/models/sizes@1/aliases"), 404, "alias_not_found")
    check_problem(client.get("/v1/models/sizes/aliases/nothing/history"), 404, "alias_not_found")


@pytest.mark.one_database
@pytest.mark.usefixtures("versions")
def test_a_rollback_goes_back_step_by_step(client: Http) -> None:
    for version in (1, 2, 2, 3):
        point(client, f"sizes@{version}")
    back = [client.post(f"{PRODUCTION}/rollback") for _ in range(2)]
    assert [answer.json()["version"] for answer in back] == [2, 1]
    check_problem(client.post(f"{PRODUCTION}/rollback"), 409, "no_earlier_version")
    changes = client.get(f"{PRODUCTION}/history").json()["data"]
    assert [(c["revision"], c["action"], c["version"], c["restores"]) for c in changes] == [
        (5, "rolled_back", 1, 1),
        (4, "rolled_back", 2, 2),
        (3, "set", 3, None),
        (2, "set", 2, None),
        (1, "set", 1, None),
    ]
    assert client.post(f"{PRODUCTION}/rollback", json={"revision": 3}).json()["version"] == 3
    check_problem(client.post(f"{PRODUCTION}/rollback", json={"revision": 7}), 404, "revision_not_found")


@pytest.mark.usefixtures("versions")
def test_a_repeated_rollback_is_one(client: Http) -> None:
    for version in (1, 2, 3):
        point(client, f"sizes@{version}")
    headers = {"Idempotency-Key": "once"}
    answers = [client.post(f"{PRODUCTION}/rollback", headers=headers).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert client.get(PRODUCTION).json()["version"] == 2


@pytest.mark.usefixtures("versions")
def test_two_administrators_do_not_overwrite_each_other(client: Http) -> None:
    assert point(client, "sizes@1", **{"If-None-Match": "*"})["revision"] == 1
    put = {"url": PRODUCTION, "json": {"model": "sizes@2"}}
    check_problem(client.put(**put, headers={"If-None-Match": "*"}), 412, "precondition_failed")
    with ThreadPoolExecutor(3) as threads:
        answers = list(
            threads.map(
                lambda v: client.put(PRODUCTION, json={"model": f"sizes@{v}"}, headers={"If-Match": '"1"'}), (2, 3)
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    winner = next(answer.json() for answer in answers if answer.status_code == 200)
    assert client.get(PRODUCTION).json() == winner
    assert point(client, winner["model"], **{"If-Match": '"1"'}) == winner  # its own repetition is no conflict
    for stale in (client.delete, client.post):
        url = PRODUCTION if stale == client.delete else f"{PRODUCTION}/rollback"
        check_problem(stale(url, headers={"If-Match": '"1", W/"2"'}), 412, "precondition_failed")
    assert client.delete(PRODUCTION, headers={"If-Match": '"1", "2"'}).status_code == 204


def test_changes_at_once_are_all_counted(client: Http, versions: list[ModelRow]) -> None:
    point(client, "sizes@1")
    with ThreadPoolExecutor(4) as threads:
        refs = [versions[1 + place % 2].id for place in range(24)]
        list(threads.map(lambda ref: point(client, ref), refs))
    changes = client.get(f"{PRODUCTION}/history").json()["data"]
    assert [change["revision"] for change in changes] == list(range(len(changes), 0, -1))
    assert all(new["model"] != old["model"] for new, old in itertools.pairwise(changes))
    assert client.get(PRODUCTION).json()["model"] == changes[0]["model"]


@pytest.mark.one_database
def test_an_alias_does_not_move_to_a_model_that_does_not_answer(
    client: Http, services: Services, versions: list[ModelRow]
) -> None:
    for version in (2, 1):
        point(client, f"sizes@{version}")
    for broken in versions[1:]:
        services.engine.unload(broken.id)
        path = services.artifacts.fetch(blob_key(broken.files["heads.safetensors"]["sha256"]))
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
    for answer in (client.put(PRODUCTION, json={"model": "sizes@3"}), client.post(f"{PRODUCTION}/rollback")):
        assert "damaged" in check_problem(answer, 409, "model_does_not_answer")["detail"]
    assert client.get(PRODUCTION).json()["version"] == 1
    assert client.post("/v1/models/sizes@production/predictions", json=INPUTS).json()["model"]["version"] == 1


@pytest.mark.one_database
@pytest.mark.usefixtures("versions")
def test_a_rollback_goes_past_the_time_without_the_alias(client: Http) -> None:
    point(client, "sizes@1")
    assert client.delete(PRODUCTION).status_code == 204
    point(client, "sizes@2")
    answer = client.post(f"{PRODUCTION}/rollback")
    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == 1


@pytest.mark.one_database
@pytest.mark.usefixtures("versions")
def test_a_history_keeps_the_newest_changes(client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.aliases.repository.MAX_CHANGES", 3)
    for version in (1, 2, 3, 1, 2):
        point(client, f"sizes@{version}")
    changes = client.get(f"{PRODUCTION}/history").json()["data"]
    assert [change["revision"] for change in changes] == [5, 4, 3]


@pytest.mark.one_database
@pytest.mark.usefixtures("versions")
def test_a_deleted_version_is_not_rolled_back_to(client: Http) -> None:
    for version in (1, 2, 3):
        point(client, f"sizes@{version}")
    client.delete("/v1/models/sizes@2")
    assert "version 2" in check_problem(client.post(f"{PRODUCTION}/rollback"), 409, "version_deleted")["detail"]
    assert client.post(f"{PRODUCTION}/rollback", json={"revision": 1}).json()["version"] == 1
    client.delete("/v1/models/sizes@1")  # and the alias with it
    changes = client.get(f"{PRODUCTION}/history").json()["data"]
    assert [(change["revision"], change["action"], change["version"]) for change in changes[:2]] == [
        (5, "deleted", None),
        (4, "rolled_back", 1),
    ]


@pytest.mark.usefixtures("versions")
def test_an_alias_of_an_earlier_release_has_a_history(client: Http, services: Services) -> None:
    point(client, "sizes@1")
    with services.database.writing() as session:
        session.execute(delete(AliasChangeRow))
    assert [change["version"] for change in client.get(f"{PRODUCTION}/history").json()["data"]] == [1]
    point(client, "sizes@2")
    assert client.post(f"{PRODUCTION}/rollback").json()["version"] == 1
    with services.database.reading() as session:
        assert len(session.scalars(select(AliasChangeRow)).all()) == 3
