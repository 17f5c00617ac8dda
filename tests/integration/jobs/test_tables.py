"""What tables hold besides numbers, learned from and asked about over HTTP, beside the same without it."""

import datetime as dt
from typing import Any

import numpy as np
import pytest

from app.settings import Settings
from tests.integration.jobs.test_job_life import events_of, job_of, upload
from tests.support.choosing import patient
from tests.support.http import Http
from tests.support.work import run_jobs

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

MONDAY = dt.date(2023, 1, 2)


def learn(client: Http, settings: Settings, dataset: str, **fields: Any) -> dict[str, Any]:
    """Fine-tune by simple ways, and return the job as it ended."""
    strategy = {"kind": "automatic", "candidates": ["raw", "boosted_trees", "random_forest"]}
    body = {"kind": "fine_tuning", "dataset": dataset, "strategy": strategy, **fields}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_jobs(patient(settings))
    ended = job_of(client, answer.json()["id"])
    assert ended["status"] == "succeeded", ended["error"]
    return ended


def ask(client: Http, job: dict[str, Any], rows: list[dict[str, Any]]) -> list[Any]:
    (output,) = job["outputs"]
    answer = client.post(f"/v1/models/{output['model']}/predictions", json={"inputs": rows})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["predictions"])


def test_what_depends_on_the_weekday_and_the_hour_is_learned_from_dates(client: Http, settings: Settings) -> None:
    """A shop is busy on Tuesdays and Saturdays from 16 to 19 h."""
    random = np.random.default_rng(0)
    start = dt.datetime.combine(MONDAY, dt.time(), dt.UTC)
    moments = [
        start + dt.timedelta(days=int(day), hours=int(hour))
        for day, hour in zip(random.integers(0, 365, 500), random.integers(8, 22, 500), strict=True)
    ]

    def is_busy(moment: dt.datetime) -> str:
        return "yes" if moment.weekday() in (1, 5) and 16 <= moment.hour < 19 else "no"

    lines = "".join(f"{moment.isoformat()},{index % 7},{is_busy(moment)}\n" for index, moment in enumerate(moments))
    dataset = upload(client, settings, f"at,till,busy\n{lines}", columns='{"busy": "target"}')
    decisions = client.get(f"/v1/datasets/{dataset}/report").json()["decisions"]
    (told,) = [decision for decision in decisions if decision["field"] == "parts.at"]
    assert told["value"] == "month, weekday, hour, day of month"
    heads = [{"kind": "classifier", "target": "busy", "positive": "yes"}]
    plain = learn(client, settings, dataset, heads=heads, preprocessing={"kind": "table", "dates": "time"})
    job = learn(client, settings, dataset, heads=heads)
    precision, without = (ended["metrics"]["heads"]["busy"]["average_precision"] for ended in (job, plain))
    assert precision > 0.8 > without + 0.3
    asked = [start + dt.timedelta(days=373, hours=hour) for hour in (17, 10)]  # a Wednesday ten days later ...
    asked += [start + dt.timedelta(days=372, hours=hour) for hour in (17, 10)]  # ... and the Tuesday before it
    answers = ask(client, job, [{"at": moment.isoformat(), "till": 3} for moment in asked])
    assert (
        [answer["busy"]["class"] for answer in answers]
        == [is_busy(moment) for moment in asked]
        == ["no", "no", "yes", "no"]
    )


def test_what_depends_on_one_of_two_hundred_cities_is_learned_by_trees(client: Http, settings: Settings) -> None:
    """Of each city there are five rows; in half of them a larger flat costs less."""
    random = np.random.default_rng(0)
    of_city = 3 * random.normal(size=200)
    codes, sizes = random.integers(0, 200, 1_200), random.normal(size=1_200)

    def price(code: Any, size: Any) -> Any:
        return of_city[code] + np.sign(of_city[code]) * size

    numbers = price(codes, sizes) + random.normal(size=1_200) / 2
    rows = zip(codes, sizes, numbers, strict=True)
    lines = "".join(f"town {code},{size:.4f},{number:.4f}\n" for code, size, number in rows)
    dataset = upload(client, settings, f"city,size,price\n{lines}", columns='{"price": "target"}')

    def r2(**estimator: Any) -> tuple[float, dict[str, Any]]:
        head = {"kind": "regressor", "target": "price", "estimator": {"kind": "boosted_trees", **estimator}}
        ways = {"heads": [head], "backbone": {"kind": "raw"}, "strategy": {"kind": "linear_probe"}}
        ended = learn(client, settings, dataset, **ways)
        return ended["metrics"]["heads"]["price"]["r2"], ended

    (score, job), (without, plain) = r2(), r2(target_encoding=[])
    assert score > 0.75 > without + 0.3
    told = [
        [event["data"] for event in events_of(client, one["id"]) if event["type"] == "head.settled"]
        for one in (job, plain)
    ]
    assert [[decision["field"] for decision in of_job] for of_job in told] == [
        ["heads.0.estimator.target_encoding"],
        [],
    ]
    assert told[0][0]["value"] == ["city"]
    chosen = learn(client, settings, dataset, heads=[{"kind": "regressor", "target": "price"}])
    for ended in (job, chosen):
        best, worst = int(np.argmax(of_city)), int(np.argmin(of_city))
        high, low, unknown = ask(client, ended, [{"city": f"town {code}", "size": 0.0} for code in (best, worst, 999)])
        assert low["price"]["value"] < unknown["price"]["value"] < high["price"]["value"]
        assert high["price"]["value"] == pytest.approx(of_city[best], abs=2)
