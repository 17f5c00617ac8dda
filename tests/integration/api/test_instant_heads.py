"""POST /v1/heads: heads that are fitted while the request waits, served at once, and equal to those of a job."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from app.db.session import Database
from app.db.tables import ModelRow
from app.dependencies import Services
from app.settings import Settings
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.models import add_bundle, add_model, bundle_of
from tests.support.problems import check_problem
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

PROBE = {"kind": "linear_probe", "layer": "last", "solver": "exact"}


def shapes(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Boxes: a class, a number and tags that follow from their sides."""
    random = np.random.default_rng(seed)
    rows = []
    for width, height, depth in random.normal(size=(count, 3)).round(3).tolist():
        tags = [name for name, holds in {"wide": width > 0, "tall": height > 0}.items() if holds]
        kind = ("flat", "tall", "deep")[int(np.argmax([width, height, depth]))]
        area = round(2 * width - height, 3)
        rows.append({"width": width, "height": height, "depth": depth, "kind": kind, "area": area, "tags": tags})
    return rows


@pytest.fixture
def backbone(services: Services, project_id: str) -> str:
    return str(add_model(services, project_id, "boxes", heads=False).id)


@pytest.fixture
def dataset(client: Http, settings: Settings) -> str:
    content = "\n".join(map(json.dumps, shapes(200))).encode()
    fields = {"name": "shapes", "columns": '{"kind": "target", "area": "target", "tags": "target"}'}
    answer = client.post("/v1/datasets", files={"file": ("shapes.jsonl", content)}, data=fields)
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    return str(answer.json()["id"])


def fit(client: Http, **body: Any) -> Any:
    answer = client.post("/v1/heads", json={"model": "boxes", **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


def predict(client: Http, ref: str, count: int = 20) -> Any:
    names = ("width", "height", "depth")
    rows = [{name: row[name] for name in names} for row in shapes(count, seed=1)]
    answer = client.post(f"/v1/models/{ref}/predictions", json={"inputs": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def test_heads_on_a_dataset_are_those_of_a_fine_tuning_job(
    client: Http, settings: Settings, backbone: str, dataset: str
) -> None:
    model = fit(client, dataset="shapes", target=["kind", "area", "tags"], name="instant")
    heads = [{"kind": "classifier", "target": "kind"}, {"kind": "regressor", "target": "area"}]
    heads.append({"kind": "multi_label", "target": "tags"})
    body = {"kind": "fine_tuning", "dataset": dataset, "model": "boxes", "heads": heads, "strategy": PROBE}
    assert client.post("/v1/jobs", json={**body, "name": "job"}).status_code == 202
    run_jobs(settings)
    job = client.get("/v1/models/job").json()
    assert predict(client, "instant") == predict(client, "job")
    assert model["metrics"] == job["metrics"]
    assert {head["name"]: head["kind"] for head in model["heads"]} == {
        "kind": "classifier",
        "area": "regressor",
        "tags": "multi_label",
    }
    assert (model["strategy"]["kind"], model["parent"], model["dataset"]) == ("linear_probe", backbone, dataset)
    assert (model["origin"], model["job"], job["origin"]) == ("dataset", None, "job")
    files = {file["name"]: file["sha256"] for file in client.get("/v1/models/boxes").json()["files"]}
    assert {file["name"]: file["sha256"] for file in model["files"]}["backbone.safetensors"] == (
        files["backbone.safetensors"]
    )
    decided = {decision["field"]: decision["value"] for decision in model["decisions"]}
    assert decided["dataset"] == dataset
    assert "validation rows" in decided["calibration"]


def test_without_validation_rows_a_classifier_is_calibrated_as_by_a_job(client: Http, settings: Settings) -> None:
    """Both by the rows that the choice of the penalty left out, so that nothing is fitted a second time."""
    content = "\n".join(json.dumps({**row, "tags": None}) for row in shapes(120)).encode()
    fields = {"name": "train", "columns": '{"kind": "target", "area": "ignored", "tags": "ignored"}'}
    fields["splits"] = '{"train": 1.0, "validation": 0.0, "test": 0.0}'
    assert client.post("/v1/datasets", files={"file": ("shapes.jsonl", content)}, data=fields).status_code == 202
    run_jobs(settings)
    wide = {"backbone": {"kind": "mlp", "hidden": [32]}, "training": {"steps": 1}}  # no two rows have equal features
    client.post("/v1/jobs", json={"kind": "pretraining", "dataset": "train", "name": "wide", **wide})
    run_jobs(settings)
    model = fit(client, model="wide", dataset="train", name="instant")
    body = {"kind": "fine_tuning", "dataset": "train", "model": "wide", "strategy": PROBE, "name": "job"}
    assert (
        client.post("/v1/jobs", json={**body, "heads": [{"kind": "classifier", "target": "kind"}]}).status_code == 202
    )
    run_jobs(settings)
    assert predict(client, "instant") == predict(client, "job")
    assert model["metrics"]["rows"] == 120


def test_features_are_cached_for_the_next_request_and_for_jobs(
    client: Http, settings: Settings, backbone: str, dataset: str
) -> None:
    first = fit(client, dataset=dataset, target="kind")
    cached = {path: path.read_bytes() for path in settings.feature_cache.iterdir()}
    assert len(cached) == 3  # of each split
    assert fit(client, dataset=dataset, target="kind")["metrics"] == first["metrics"]
    body = {"kind": "fine_tuning", "dataset": dataset, "model": backbone, "strategy": PROBE}
    client.post("/v1/jobs", json={**body, "heads": [{"kind": "classifier", "target": "kind"}]})
    run_jobs(settings)
    assert {path: path.read_bytes() for path in settings.feature_cache.iterdir()} == cached


def test_rows_of_the_request_make_a_calibrated_model_and_are_not_kept(
    client: Http, services: Services, backbone: str
) -> None:
    rows = shapes(120)
    inputs = [[row["width"], row["height"], row["depth"]] for row in rows]
    model = fit(client, rows=inputs, labels=[row["kind"] for row in rows])
    assert (model["name"], model["version"], model["origin"]) == ("boxes-label", 1, "rows")
    assert model["dataset"] is None
    assert model["metrics"]["rows"] == 120  # each answered by heads that had not seen it
    assert model["metrics"]["heads"]["label"]["intervals"]["accuracy"]["low"] > 0
    assert services.engine.peek(model["id"]) is not None, "it is in memory before it is asked"
    assert set(predict(client, model["id"])[0]["label"]["probabilities"]) == {"flat", "tall", "deep"}
    decided = {decision["field"]: decision["value"] for decision in model["decisions"]}
    assert decided["calibration"].startswith("120 train rows")
    lineage = client.get(f"/v1/models/{model['id']}/lineage").json()
    assert (lineage["model"]["origin"], lineage["ancestors"][0]["id"]) == ("rows", backbone)
    assert lineage["ancestors"][0]["origin"] == "import"


def test_rows_that_hold_their_labels_answer_several_targets(client: Http, backbone: str) -> None:
    model = fit(client, rows=shapes(60), target=["kind", "area", "tags"], name="several")
    answer = predict(client, "several")[0]
    assert set(answer) == {"kind", "area", "tags"}
    assert answer["area"]["interval"][0] < answer["area"]["value"] < answer["area"]["interval"][1]
    assert [head["kind"] for head in model["heads"]] == ["classifier", "regressor", "multi_label"]


def test_calibrated_intervals_hold_what_they_promise(client: Http, backbone: str) -> None:
    random = np.random.default_rng(0)
    rows, truth = shapes(400), shapes(400, seed=1)
    noise = random.standard_t(2, size=800).tolist()
    inputs = [[row["width"], row["height"], row["depth"]] for row in rows]
    fit(client, rows=inputs, labels=[row["area"] + noise[i] for i, row in enumerate(rows)], name="noisy")
    answers = [answer["label"]["interval"] for answer in predict(client, "noisy", 400)]
    pairs = zip(answers, truth, strict=True)
    inside = [low <= row["area"] + noise[400 + i] <= high for i, ((low, high), row) in enumerate(pairs)]
    assert 0.85 <= np.mean(inside) <= 0.95


def test_a_next_version_answers_by_its_name_at_once(client: Http, backbone: str) -> None:
    rows = shapes(60)
    inputs = [[row["width"], row["height"], row["depth"]] for row in rows]
    for version, names in ((1, ("a", "b")), (2, ("c", "d"))):
        labels = [names[row["width"] > 0] for row in rows]
        assert fit(client, rows=inputs, labels=labels, name="versions")["version"] == version
        assert set(predict(client, "versions")[0]["label"]["probabilities"]) == set(names)
    newest = client.get("/v1/models/versions").json()
    assert [warning["code"] for warning in newest["warnings"]] == ["signature_changed"]


def test_types_of_labels_are_guessed_as_of_datasets_and_can_be_said(client: Http, backbone: str) -> None:
    rows = shapes(60)
    inputs = [[row["width"], row["height"], row["depth"]] for row in rows]
    stars = [index % 5 + 1 for index in range(60)]
    model = fit(client, rows=inputs, labels=stars, target="stars")
    assert model["heads"][0]["classes"] == ["1", "2", "3", "4", "5"]
    decision = next(each for each in model["decisions"] if each["field"] == "target")
    assert "5 different whole numbers" in decision["reason"]
    heads = json.loads("{" + decision["option"] + "}")["heads"]
    assert fit(client, rows=inputs, labels=stars, heads=heads)["heads"][0]["kind"] == "regressor"
    assert fit(client, rows=inputs, labels=[row["width"] > 0 for row in rows])["heads"][0]["classes"] == [
        "false",
        "true",
    ]


def test_what_is_doubtful_of_rows_is_warned_of(client: Http, backbone: str) -> None:
    rows = [{**row, "hue": 1} for row in shapes(10)]
    rows[3]["kind"] = None
    warnings = {warning["code"]: warning for warning in fit(client, rows=rows, target="kind")["warnings"]}
    assert warnings["unlabelled_removed"]["rows"] == [3]
    assert warnings["few_rows"]["count"] == 9
    assert "'hue'" in warnings["ignored_keys"]["message"]
    check_problem(
        client.post("/v1/heads", json={"model": "boxes", "rows": rows, "target": "kind", "unknown": "refuse"}), 422
    )


ROW = [1.0, 2.0, 3.0]
REFUSED: list[tuple[dict[str, Any], list[Any], str]] = [
    ({"rows": [ROW, ROW]}, ["body", "labels"], "no labels"),
    ({"rows": [ROW, ROW], "labels": ["a", "a"]}, ["body", "target"], "one class only"),
    ({"rows": [ROW, ROW], "labels": [None, None]}, ["body", "labels"], "no row has a label"),
    ({"rows": [ROW, ROW], "labels": ["a"]}, ["body"], "2 rows and 1 labels"),
    ({"rows": [ROW, ROW], "labels": ["a", {}]}, ["body", "labels", 1], "a label is"),
    ({"rows": [ROW, ROW], "labels": ["a", ["b"]]}, ["body", "labels"], "lists"),
    ({"rows": [ROW, [1, 2, "x"]], "labels": ["a", "b"]}, ["body", "rows", 1, "depth"], "number"),
    ({"rows": [ROW, ROW], "target": "kind"}, ["body", "rows", 0], "no object"),
    ({"rows": [{"width": 1}], "target": "width"}, ["body", "target"], "input of the model"),
    ({"rows": [ROW], "labels": ["a"], "dataset": "x"}, ["body"], "either dataset"),
    ({"dataset": "shapes", "labels": ["a"]}, ["body"], "leave them out"),
    ({"dataset": "shapes"}, ["body", "target"], "'kind', 'area', 'tags'"),
    ({"dataset": "shapes", "target": "knid"}, ["body", "target"], "did you mean 'kind'"),
    ({"dataset": "shapes", "target": "kind", "layer": 7}, ["body", "layer"], "layers"),
    (
        {"dataset": "shapes", "heads": [{"kind": "classifier", "target": "kind", "hidden": [4]}]},
        ["body", "heads", 0, "kind"],
        "fine_tuning job",
    ),
    ({"dataset": "shapes", "heads": [{"kind": "generator"}]}, ["body", "heads", 0, "kind"], "fine_tuning job"),
    (
        {"dataset": "shapes", "heads": [{"kind": "regressor", "target": "kind"}]},
        ["body", "heads", 0, "kind"],
        "classifier",
    ),
]


def test_what_cannot_be_fitted_is_refused_and_leaves_nothing(
    client: Http, database: Database, backbone: str, dataset: str, services: Services, project_id: str
) -> None:
    add_bundle(services, project_id, "pictures", bundle_of("image"))
    before = count(database)
    for body, place, words in REFUSED:
        problem = check_problem(client.post("/v1/heads", json={"model": "boxes", **body}), 422)
        assert words in str(problem["detail"]), problem
        assert problem["errors"][0]["loc"] == place, problem  # type: ignore[index]
    answer = client.post("/v1/heads", json={"model": "pictures", "dataset": dataset, "target": "kind"})
    assert "images" in str(check_problem(answer, 422)["detail"])
    check_problem(client.post("/v1/heads", json={"model": "no", "rows": [ROW], "labels": ["a"]}), 404)
    check_problem(client.post("/v1/heads", json={"model": "boxes", "dataset": "no", "target": "a"}), 404)
    body = {"model": "boxes", "dataset": dataset, "target": "kind", "timeout": 1e-9}
    check_problem(client.post("/v1/heads", json=body), 504)
    assert count(database) == before
    assert len(services.engine.loaded()) <= 2


def test_more_than_can_be_waited_for_is_a_job(
    client: Http, backbone: str, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in (("MAX_ROWS", 100), ("MAX_WORK", 1000)):
        with monkeypatch.context() as patch:
            patch.setattr(f"app.heads.choices.{name}", limit)
            answer = client.post("/v1/heads", json={"model": "boxes", "dataset": dataset, "target": "kind"})
            assert "fine_tuning" in str(check_problem(answer, 422, "too_large")["detail"])


def test_a_dataset_without_labels_is_refused(client: Http, settings: Settings, backbone: str) -> None:
    rows = [{name: row[name] for name in ("width", "height", "depth")} for row in shapes(50)]
    content = "\n".join(map(json.dumps, rows)).encode()
    fields = {"name": "bare", "columns": json.dumps(dict.fromkeys(rows[0], "input"))}
    answer = client.post("/v1/datasets", files={"file": ("bare.jsonl", content)}, data=fields)
    refusal = client.post("/v1/heads", json={"model": "boxes", "dataset": answer.json()["id"], "target": "kind"})
    check_problem(refusal, 409, "dataset_not_ready")
    run_jobs(settings)
    for target in ({"target": "kind"}, {}):
        refusal = client.post("/v1/heads", json={"model": "boxes", "dataset": "bare", **target})
        assert "upload" in str(check_problem(refusal, 422)["detail"])


def test_only_keys_that_may_write_fit_heads(client: Http, backbone: str, make_key: MakeKey) -> None:
    key = make_key(scopes=("read", "predict"))
    body = {"model": "boxes", "rows": [ROW], "labels": ["a"]}
    check_problem(client.post("/v1/heads", json=body, headers={"Authorization": f"Bearer {key}"}), 403)


def test_a_repeated_request_gets_the_first_answer(client: Http, database: Database, backbone: str) -> None:
    body = {"model": "boxes", "rows": shapes(40), "target": "kind"}
    answers = [client.post("/v1/heads", json=body, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert count(database) == 2
    other = {**body, "name": "other"}
    check_problem(client.post("/v1/heads", json=other, headers={"Idempotency-Key": "once"}), 422)


def test_requests_at_once_make_a_version_each(client: Http, backbone: str) -> None:
    body = {"model": "boxes", "rows": shapes(40), "target": "kind", "name": "together"}
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/heads", json=body), range(3)))
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2, 3]


@pytest.mark.parametrize("modality", ["image", "table", "series", "text"])
def test_rows_of_every_modality_are_learned_from(
    client: Http, services: Services, project_id: str, modality: Any
) -> None:
    model = add_bundle(services, project_id, "any", bundle_of(modality))
    example = client.get(f"/v1/models/{model.id}").json()["signature"]["example"]["inputs"][0]
    rows = {"rows": [example] * 8, "labels": ["a", "b"] * 4}
    fitted = client.post("/v1/heads", json={"model": "any", "name": "fitted", **rows})
    assert fitted.status_code == 201, fitted.text
    answer = client.post("/v1/models/fitted/predictions", json={"inputs": [example]}).json()
    assert answer["predictions"][0]["label"]["probabilities"] == pytest.approx({"a": 0.5, "b": 0.5}, abs=1e-3)


def count(database: Database) -> int:
    with database.reading() as session:
        return int(session.scalar(select(func.count(ModelRow.id))) or 0)
