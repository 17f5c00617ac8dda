"""Aliases of several versions, and shadows: every request is one version's, and no answer waits for a shadow."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.aliases.comparison import Counts, compare
from app.aliases.repository import AliasKey, add_counts
from app.aliases.traffic import Traffic, choose, traffic_of
from app.artifacts import blob_key
from app.db.tables import ModelRow
from app.dependencies import Services
from app.predictions import shadow
from tests.support.http import Http
from tests.support.models import add_model
from tests.support.problems import check_problem
from tests.support.servers import wait_until

PRODUCTION = "/v1/models/sizes/aliases/production"
URL = "/v1/models/sizes@production/predictions"
INPUTS = {"inputs": [[1, 2, 3], [4, 5, 6]]}
HALVES = {"versions": {"1": 1, "2": 1}}


@pytest.fixture
def versions(services: Services, project_id: str) -> list[ModelRow]:
    """Three versions that answer differently."""
    return [add_model(services, project_id, "sizes", seed=seed) for seed in range(3)]


def put(client: Http, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.put(PRODUCTION, json=body)
    assert answer.status_code == 200, answer.text
    alias: dict[str, Any] = answer.json()
    return alias


def ask(client: Http, key: str | None = None) -> dict[str, Any]:
    answer = client.post(URL, json=INPUTS, headers={"X-Routing-Key": key} if key else {})
    assert answer.status_code == 200, answer.text
    answered: dict[str, Any] = answer.json()
    return answered


def reported(client: Http, requests: int) -> dict[str, Any]:
    """The report of the shadow once so many requests are counted."""

    def is_counted() -> bool:
        data = client.get(f"{PRODUCTION}/report").json()["data"]
        return bool(data) and sum(data[0][name] for name in ("requests", "dropped", "errors")) >= requests

    wait_until(is_counted, "the shadow's counts are saved")
    report: dict[str, Any] = client.get(f"{PRODUCTION}/report").json()["data"][0]
    return report


def test_a_shadow_computes_its_share_of_the_requests() -> None:
    assert 300 < sum(shadow.is_chosen(0.5) for _ in range(1000)) < 700
    assert all(shadow.is_chosen(1.0) for _ in range(1000))
    assert not any(shadow.is_chosen(0.0) for _ in range(1000))


@pytest.mark.one_database
def test_requests_are_dealt_by_weight_and_key(client: Http, versions: list[ModelRow]) -> None:
    alias = put(client, HALVES)
    assert [(entry["version"], entry["weight"]) for entry in alias["versions"]] == [(1, 1.0), (2, 1.0)]
    assert (alias["version"], alias["shadow"]) == (1, None)
    expected = {v.version: client.post(f"/v1/models/{v.id}/predictions", json=INPUTS).json() for v in versions}
    by_key = {key: ask(client, key) for key in map(str, range(12))}
    assert all(answer == expected[answer["model"]["version"]] for answer in by_key.values())
    assert {answer["model"]["version"] for answer in by_key.values()} == {1, 2}
    assert all(ask(client, key) == answer for key, answer in list(by_key.items())[:4])
    assert {ask(client)["model"]["version"] for _ in range(24)} == {1, 2}  # once in 8 million times of one alone
    assert client.get("/v1/models/sizes@production").json()["version"] == 1
    check_problem(client.delete("/v1/models/sizes@2"), 409, "in_use")
    assert "versions" in client.get(f"{PRODUCTION}/history").json()["data"][0]


def test_a_rollback_brings_weights_back(client: Http, versions: list[ModelRow]) -> None:
    put(client, HALVES)
    assert put(client, HALVES)["revision"] == 1
    put(client, {"model": versions[0].id})
    back = client.post(f"{PRODUCTION}/rollback").json()
    assert ([entry["version"] for entry in back["versions"]], back["revision"]) == ([1, 2], 3)


@pytest.mark.one_database
@pytest.mark.usefixtures("versions")
def test_what_cannot_stand_together_is_refused(client: Http, services: Services, project_id: str) -> None:
    add_model(services, project_id, "sizes", heads=False)
    add_model(services, project_id, "others")
    bad: list[dict[str, Any]] = [
        {},
        {"model": "sizes@1", "versions": {"2": 1}},
        {"versions": {}},
        {"versions": {"1": 0}},
        {"versions": {"1": 1, "sizes@1": 1}},
        {"versions": {"1": 1, "others": 1}},
        {"model": "sizes@1", "shadow": "1"},
        {"model": "sizes@1", "shadow": "4"},  # a backbone
        {"model": "sizes@1", "shadow": "2", "shadow_share": 0},
    ]
    for body in bad:
        check_problem(client.put(PRODUCTION, json=body), 422)
    check_problem(client.put(PRODUCTION, json={"versions": {"1": 1, "9": 1}}), 404, "model_not_found")
    check_problem(client.get(PRODUCTION), 404, "alias_not_found")


@pytest.mark.one_database
def test_a_shadow_is_compared_and_never_answers(client: Http, versions: list[ModelRow]) -> None:
    alias = put(client, {"model": "sizes@1", "shadow": "3"})
    assert (alias["shadow"]["version"], alias["shadow"]["share"]) == (3, 1.0)
    answers = [ask(client) for _ in range(5)]
    assert {answer["model"]["version"] for answer in answers} == {1}
    shadow_answer = client.post("/v1/models/sizes@3/predictions", json=INPUTS).json()
    report = reported(client, 5)
    assert (report["version"], report["shadow_version"]) == (1, 3)
    assert (report["requests"], report["rows"], report["errors"], report["dropped"]) == (5, 10, 0, 0)
    head, pairs = (
        report["heads"]["size"],
        list(zip(answers[0]["predictions"], shadow_answer["predictions"], strict=True)),
    )
    differs = [a["size"]["class"] != b["size"]["class"] for a, b in pairs]
    shares = [abs(a["size"]["probabilities"]["large"] - b["size"]["probabilities"]["large"]) for a, b in pairs]
    assert head == {
        "rows": 10,
        "disagreement": sum(differs) / 2,
        "mean_absolute_difference": pytest.approx(sum(shares) / 2),
    }
    assert report["mean_seconds"] > 0
    assert report["shadow_mean_seconds"] > 0
    assert versions


@pytest.mark.one_database
def test_a_shadow_that_fails_or_is_slow_harms_no_answer(
    client: Http, services: Services, versions: list[ModelRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, {"model": "sizes@1", "shadow": "3"})
    services.engine.unload(versions[2].id)
    path = services.artifacts.fetch(blob_key(versions[2].files["heads.safetensors"]["sha256"]))
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert ask(client)["model"]["version"] == 1
    assert reported(client, 1)["errors"] == 1
    monkeypatch.setattr(shadow, "MAX_WAITING", 0)
    assert ask(client)["model"]["version"] == 1
    assert reported(client, 2)["dropped"] == 1


def test_counts_of_several_processes_add_up(services: Services, client: Http, versions: list[ModelRow]) -> None:
    alias = put(client, {"model": "sizes@1", "shadow": "2"})
    key = AliasKey(versions[0].project_id, "sizes", "production")

    def count(process: int) -> None:
        counts = Counts(requests=1, rows=process)
        for _ in range(5):
            services.database.transact(
                lambda session: add_counts(session, key, alias["model"], alias["shadow"]["model"], counts)
            )

    with ThreadPoolExecutor(4) as processes:
        list(processes.map(count, range(4)))
    report = reported(client, 20)
    assert (report["requests"], report["rows"]) == (20, 30)


def test_the_choice_follows_the_weights() -> None:
    choices = [("old", 90.0), ("new", 10.0)]
    chosen = {str(key): choose(choices, str(key), "a@b") for key in range(2000)}
    assert 130 < Counter(chosen.values())["new"] < 280
    more = {key: choose([("old", 80.0), ("new", 20.0)], key, "a@b") for key in chosen}
    assert all(more[key] == "new" for key, version in chosen.items() if version == "new")
    assert chosen != {key: choose(choices, key, "another@b") for key in chosen}
    assert {choose(choices, None, "") for _ in range(500)} == {"old", "new"}


def test_an_alias_that_an_earlier_release_moved_means_what_it_says() -> None:
    traffic = Traffic((("m1", 1.0), ("m2", 3.0)), "m3", 0.5)
    assert traffic.primary == "m2"
    assert traffic_of("m2", traffic.as_json()) == traffic
    assert traffic_of("m9", traffic.as_json()) == Traffic((("m9", 1.0),))


def test_answers_of_every_head_are_compared() -> None:
    first = [
        {
            "c": {"class": "a", "probabilities": {"a": 0.75, "b": 0.25}},
            "m": {"labels": ["x", "y"], "probabilities": {"x": 0.5, "y": 1.0}},
            "r": {"value": 1.0, "interval": [0, 2], "level": 0.9},
            "rs": {"p": {"value": 1.0}, "q": {"value": 2.0}},
            "gone": {"value": 1.0},
        }
    ]
    second = [
        {
            "c": {"class": "c", "probabilities": {"a": 0.25, "c": 0.75}},
            "m": {"labels": ["y", "x"], "probabilities": {"x": 0.5, "y": 0.5}},
            "r": {"value": 3.0, "interval": [0, 2], "level": 0.9},
            "rs": {"p": {"value": 2.0}, "q": {"value": 2.0}},
        }
    ]
    counts = compare(first, second)
    found = {name: (head.labelled, head.disagreements, head.difference) for name, head in counts.items()}
    assert found == {"c": (1, 1, 0.5), "m": (1, 0, 0.25), "r": (0, 0, 2.0), "rs": (0, 0, 0.5)}
    twice = Counts(requests=1, heads=counts).plus(Counts(requests=2, heads=counts))
    assert (twice.requests, twice.heads["c"].rows, twice.heads["c"].difference) == (3, 2, 1.0)


def test_other_protocols_are_dealt_and_shadowed_alike(client: Http, versions: list[ModelRow]) -> None:
    tensor = {"name": "inputs", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}

    def version_of(key: str) -> str:
        headers = {"X-Routing-Key": key}
        answer = client.post("/v2/models/sizes@production/infer", json={"inputs": [tensor]}, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    put(client, HALVES)
    assert [version_of(str(key)) for key in range(12)] == [
        str(ask(client, str(key))["model"]["version"]) for key in range(12)
    ]
    put(client, {"model": "sizes@1", "shadow": "3"})
    assert {version_of(str(key)) for key in range(3)} == {"1"}
    report = reported(client, 3)
    assert (report["requests"], report["rows"], report["errors"], report["dropped"]) == (3, 3, 0, 0)
    assert versions


@pytest.mark.one_database
def test_a_report_goes_with_its_alias(services: Services, client: Http, versions: list[ModelRow]) -> None:
    alias = put(client, {"model": "sizes@1", "shadow": "2"})
    key = AliasKey(versions[0].project_id, "sizes", "production")

    def add() -> None:
        services.database.transact(
            lambda session: add_counts(session, key, alias["model"], alias["shadow"]["model"], Counts(requests=1))
        )

    add()
    assert client.delete(PRODUCTION).status_code == 204
    add()  # what was counted until then
    put(client, {"model": "sizes@1", "shadow": "2"})
    assert client.get(f"{PRODUCTION}/report").json()["data"] == []
