"""Learning curves of many stored measurements."""

import time
import tracemalloc

import numpy as np
import pytest

from app.db.tables import MetricRow
from app.dependencies import Services
from app.jobs import curves
from app.ml.evaluation.thinning import largest_triangles
from tests.support.http import Http

in_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)  # rows are put into its file in bulk
POINTS, SOME = 1_000_000, 60_000
CSV = "a,b\n" + "\n".join(f"{row},{row % 7}" for row in range(40))
MEASURE = """
WITH RECURSIVE steps (step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM steps WHERE step < :points - 1)
INSERT INTO metrics (job_id, step, epoch, created_at, "values")
SELECT :job, step, step / 1000, 1.0, json_object(
    'train/loss', CASE step WHEN 123456 THEN 90.0 WHEN 765432 THEN -7.0 ELSE (step * 7919 % 10007) / 10007.0 END,
    'train/lr', 0.001,
    'train/gradient_norm', CASE WHEN step % 5 = 0 THEN NULL ELSE step / 1000000.0 END)
FROM steps
"""


@pytest.fixture
def job(request: pytest.FixtureRequest, client: Http, services: Services) -> str:
    """A job that has measured at each of so many steps."""
    client.post("/v1/datasets", files={"file": ("d.csv", CSV.encode())}, data={"name": "numbers"})
    job_id = str(client.get("/v1/jobs").json()["data"][0]["id"])
    with services.database.engine.begin() as connection:
        connection.exec_driver_sql(MEASURE, {"job": job_id, "points": request.param})
    return job_id


@in_sqlite
@pytest.mark.slow
@pytest.mark.parametrize("job", [POINTS], indirect=True)
def test_a_curve_of_a_million_points_is_read_whole(client: Http, services: Services, job: str, project_id: str) -> None:
    began = time.perf_counter()
    curve = client.get(f"/v1/jobs/{job}/curves/learning").json()
    seconds = time.perf_counter() - began
    lines = {line["name"]: line for line in curve["lines"]}
    assert [*lines] == ["train/loss", "train/lr", "train/gradient_norm"]
    for line in lines.values():
        assert len(line["x"]) == len(line["y"]) <= 500
        assert (line["x"][0], line["x"][-1]) == (0, POINTS - 1)
    x, y = np.arange(POINTS, dtype=float), (np.arange(POINTS) * 7919 % 10007) / 10007
    y[[123456, 765432]] = 90, -7
    loss = lines["train/loss"]
    assert {(123456, 90.0), (765432, -7.0)} <= {*zip(loss["x"], loss["y"], strict=True)}
    assert {*largest_triangles(x, y, 498).tolist()} <= {*map(int, loss["x"])}, "all points were thinned, none left out"
    assert y[list(map(int, loss["x"]))].tolist() == pytest.approx(loss["y"])
    assert None in lines["train/gradient_norm"]["y"], "what was not measured is a gap"
    assert seconds < 30, "3.9 s beside other work"


@in_sqlite
@pytest.mark.parametrize("job", [SOME], indirect=True)
def test_rows_are_read_in_blocks(services: Services, job: str, project_id: str) -> None:
    values = 3 * SOME
    tracemalloc.start()
    try:
        curves.get(services, project_id, job, "learning", None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * values + 8 * 2**20, "16 bytes for each value, and a block of rows"


def test_values_are_read_as_they_were_stored(client: Http, services: Services) -> None:
    client.post("/v1/datasets", files={"file": ("d.csv", CSV.encode())}, data={"name": "numbers"})
    job_id = str(client.get("/v1/jobs").json()["data"][0]["id"])
    stored = [{"a": 0.1 + 0.2, 'ü, "]': 1}, {}, {"a": None, 'ü, "]': 1e-300}]
    with services.database.writing() as session:
        for step, values in enumerate(stored):
            session.add(MetricRow(job_id=job_id, step=step, epoch=0, created_at=1.0, values=values))
    lines = client.get(f"/v1/jobs/{job_id}/curves/learning").json()["lines"]
    points = {line["name"]: (line["x"], line["y"]) for line in lines}
    assert points == {"a": ([0, 2], [0.1 + 0.2, None]), 'ü, "]': ([0, 2], [1, 1e-300])}
    (entry,) = client.get(f"/v1/jobs/{job_id}/curves").json()["data"]
    assert (entry["kind"], entry["head"]) == ("learning", None)
