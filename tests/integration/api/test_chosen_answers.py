"""What of the answers is asked for: heads, the most probable classes, digits; and several models in one request."""

import re
from dataclasses import replace
from typing import Any

import pytest

from app.db.tables import ModelRow
from app.dependencies import Services
from app.ml.models.array_model import ArrayModel
from app.ml.models.predictor import Predictor
from tests.integration.api.test_short_way import SOUND, bundle_of
from tests.support.http import Http
from tests.support.models import add_bundle, add_model, make_bundle
from tests.support.problems import check_problem

pytestmark = pytest.mark.one_database("sqlite")  # no database answers a prediction

ROWS = [[1.5, -2.0, 0.5], [3.0, 4.0, -5.0]]
BODY = {"inputs": ROWS}
SEVERAL = "/v1/models/several/predictions"
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture
def several(services: Services, project_id: str) -> ModelRow:
    """A table model with a classifier of the head `label` and a regressor of `size`."""
    return add_bundle(services, project_id, "several", bundle_of("table"))


def significant_digits(content: bytes) -> int:
    numbers = (number.split(b"e")[0].replace(b".", b"").lstrip(b"-0") for number in NUMBER.findall(content))
    return max(map(len, numbers))


def test_the_heads_that_are_asked_for_answer(client: Http, several: ModelRow) -> None:
    body = {"inputs": SOUND["table"]}
    all_heads = client.post(SEVERAL, json=body).json()["predictions"]
    assert [list(answer) for answer in all_heads] == [["label", "size"]] * 2
    ways: list[tuple[str, dict[str, Any], list[str]]] = [
        ("?heads=size", {}, ["size"]),
        ("?heads=size&heads=label", {}, ["label", "size"]),
        ("?heads=size,label", {}, ["label", "size"]),
        ("", {"heads": "label"}, ["label"]),
        ("", {"heads": ["size"]}, ["size"]),
        ("?heads=label", {"heads": ["size"]}, ["size"]),
    ]
    for query, fields, keys in ways:
        answer = client.post(SEVERAL + query, json={**body, **fields}).json()
        assert answer["predictions"] == [{key: row[key] for key in keys} for row in all_heads], query
    csv = b"width,weight,age,colour\n110.5,0.5,,red\n"
    answer = client.post(f"{SEVERAL}?heads=size", content=csv, headers={"content-type": "text/csv"})
    assert list(answer.json()["predictions"][0]) == ["size"]
    form = client.post(SEVERAL, files={"file": ("a.csv", csv)}, data={"heads": "size"})
    assert list(form.json()["predictions"][0]) == ["size"]
    both = client.post(SEVERAL, files={"file": ("a.csv", csv)}, data={"heads": ["size", "label"]})
    assert list(both.json()["predictions"][0]) == ["label", "size"]
    twice = client.post(SEVERAL, files={"file": ("a.csv", csv)}, data={"top_k": ["1", "2"]})
    assert check_problem(twice, 422)["errors"][0]["loc"] == ["body", "top_k"]


def test_an_unknown_head_is_refused_with_the_nearest(client: Http, several: ModelRow) -> None:
    for query, fields in (("?heads=sise", {}), ("", {"heads": ["label", "sise"]})):
        answer = client.post(SEVERAL + query, json={"inputs": SOUND["table"], **fields})
        problem = check_problem(answer, 422, "unknown_head")
        assert problem["detail"] == "heads: there is no head 'sise': did you mean 'size'? there are 'label', 'size'"
        assert problem["errors"][0]["loc"] == ["heads"]
    for wrong in ([], "", 5, [""]):
        check_problem(client.post(SEVERAL, json={"inputs": SOUND["table"], "heads": wrong}), 422)


def test_only_the_most_probable_classes(client: Http, several: ModelRow) -> None:
    body = {"inputs": SOUND["table"]}
    whole = client.post(SEVERAL, json=body).json()["predictions"]
    for answer in (
        client.post(f"{SEVERAL}?top_k=2", json=body),
        client.post(SEVERAL, json={**body, "top_k": 2}),
        client.post(f"{SEVERAL}?top_k=1", json={**body, "top_k": 2}),
    ):
        for shown, row in zip(answer.json()["predictions"], whole, strict=True):
            by_probability = sorted(row["label"]["probabilities"].items(), key=lambda pair: -pair[1])
            assert list(shown["label"]["probabilities"].items()) == by_probability[:2]
            assert shown["label"]["class"] == by_probability[0][0]
            assert shown["size"] == row["size"]
    for wrong in (0, -1, 1.5, "x"):
        check_problem(client.post(f"{SEVERAL}?top_k={wrong}", json=body), 422)
    check_problem(client.post(SEVERAL, json={**body, "top_k": "2"}), 422)


def test_numbers_have_the_digits_that_are_asked_for(client: Http, several: ModelRow) -> None:
    body = {"inputs": SOUND["table"]}
    exact = client.post(f"{SEVERAL}?digits=17", json=body)
    assert significant_digits(exact.content) > 12
    for what, usual in (("predictions", 9), ("embeddings", 10)):
        url = SEVERAL.replace("predictions", what)
        name = what.encode()
        numbers = client.post(url, json=body).content.split(name)[1].split(b"warnings")[0]
        assert 6 <= significant_digits(numbers) <= usual
        few = client.post(f"{url}?digits=3", json=body).content
        assert few == client.post(url, json={**body, "digits": 3}).content
        assert significant_digits(few.split(name)[1].split(b"warnings")[0]) == 3
        for wrong in (0, 18, 2.5):
            check_problem(client.post(f"{url}?digits={wrong}", json=body), 422)
    rounded = client.post(f"{SEVERAL}?digits=2", json=body).json()["predictions"]
    for row, answer in zip(exact.json()["predictions"], rounded, strict=True):
        assert answer["label"]["class"] == row["label"]["class"]
        assert answer["label"]["probabilities"] == pytest.approx(row["label"]["probabilities"], rel=0.05)


def test_options_of_predictions_are_none_of_embeddings(client: Http, several: ModelRow) -> None:
    url = SEVERAL.replace("predictions", "embeddings")
    for option in ({"top_k": 1}, {"heads": ["size"]}, {"models": ["several"]}):
        (error,) = check_problem(client.post(url, json={"inputs": SOUND["table"], **option}), 422)["errors"]
        assert error["loc"] == ["body", *option]
    check_problem(client.post(f"{url}?top_k=1", json={"inputs": SOUND["table"]}), 422, "unknown_parameter")


@pytest.fixture
def relatives(services: Services, project_id: str) -> dict[str, ModelRow]:
    """Two models on one backbone, whose heads differ, and one on another."""
    first, second = make_bundle(), make_bundle(classes=("big", "little", "tiny"))
    second.backbone.load_state_dict(first.backbone.state_dict())
    return {
        "a": add_bundle(services, project_id, "a", first),
        "b": add_bundle(services, project_id, "b", second),
        "c": add_model(services, project_id, "c", seed=7),
    }


def test_several_models_answer_the_same_inputs(client: Http, relatives: dict[str, ModelRow]) -> None:
    client.put("/v1/models/b/aliases/prod", json={"model": relatives["b"].id})
    refs = ["a", "b@prod", "c@1", relatives["a"].id]
    answer = client.post("/v1/predictions", json={"models": refs, **BODY})
    assert answer.status_code == 200, answer.text
    models = answer.json()["models"]
    assert [model.pop("ref") for model in models] == refs
    for ref, model in zip(refs, models, strict=True):
        assert model == client.post(f"/v1/models/{ref}/predictions", json=BODY).json()


def test_features_that_models_share_are_computed_once(
    client: Http, relatives: dict[str, ModelRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    features = ArrayModel.features

    def counted(self: ArrayModel, encoded: Any, source: str) -> Any:
        computed.append(source)
        return features(self, encoded, source)

    body = {"models": ["a", "b", "c"], "inputs": ROWS}
    assert client.post("/v1/predictions", json=body).status_code == 200
    monkeypatch.setattr(ArrayModel, "features", counted)
    assert client.post("/v1/predictions", json=body).status_code == 200
    assert relatives
    assert len(computed) == 2


def test_a_backbone_that_models_share_runs_once(
    client: Http, services: Services, relatives: dict[str, ModelRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.ml.models.array_model.MAX_MULTIPLICATIONS", 0)
    body = {"models": ["a", "b", "c"], "inputs": ROWS * 700}  # in several blocks
    assert client.post("/v1/predictions", json=body).status_code == 200
    backbones = {}
    for row in relatives.values():
        resident = services.engine.peek(row.id)
        assert resident is not None
        assert isinstance(resident.model, Predictor)
        backbones[id(resident.model.bundle.backbone)] = resident.model.bundle.backbone
    runs: list[int] = []
    for place, backbone in enumerate(backbones.values()):
        backbone.register_forward_hook(lambda *_, place=place: runs.append(place))
    assert client.post("/v1/predictions", json=body).status_code == 200
    assert len(runs) > 2
    assert runs == [0, 1] * (len(runs) // 2)


def test_a_shared_backbone_is_given_the_rows_as_each_model_reads_them(
    client: Http, services: Services, project_id: str
) -> None:
    first = make_bundle()
    columns = tuple(column.model_copy(update={"mean": 5.0, "std": 3.0}) for column in first.manifest.modality.columns)
    modality = first.manifest.modality.model_copy(update={"columns": columns})
    other = replace(first, manifest=first.manifest.model_copy(update={"modality": modality}))
    rows = [add_bundle(services, project_id, name, bundle) for name, bundle in (("usual", first), ("scaled", other))]
    together = client.post("/v1/predictions", json={"models": ["usual", "scaled"], **BODY}).json()["models"]
    alone = [client.post(f"/v1/models/{name}/predictions", json=BODY).json() for name in ("usual", "scaled")]
    assert [model["predictions"] for model in together] == [model["predictions"] for model in alone]
    assert alone[0]["predictions"] != alone[1]["predictions"]
    residents = [services.engine.peek(row.id) for row in rows]
    assert len({resident.model.backbone for resident in residents if resident}) == 1


def test_models_by_query_and_heads_of_several(client: Http, relatives: dict[str, ModelRow], several: ModelRow) -> None:
    csv = {"content": b"width,height,depth\n1,2,3\n", "headers": {"content-type": "text/csv"}}
    answer = client.post("/v1/predictions?models=a&models=b&heads=size&top_k=1&digits=3", **csv)
    assert [model["ref"] for model in answer.json()["models"]] == ["a", "b"]
    assert all(len(model["predictions"][0]["size"]["probabilities"]) == 1 for model in answer.json()["models"])
    wide = {"inputs": [{"width": 1, "height": 2, "depth": 3, "weight": 1, "age": 1, "colour": "red"}]}
    mixed = client.post("/v1/predictions", json={"models": ["a", "several"], "heads": ["size"], **wide}).json()
    assert [list(model["predictions"][0]) for model in mixed["models"]] == [["size"], ["size"]]
    assert all("ignored_keys" in {warning["code"] for warning in model["warnings"]} for model in mixed["models"])
    lacking = client.post("/v1/predictions", json={"models": ["a", "several"], "heads": ["label"], **wide})
    assert "'a' has none of these heads" in check_problem(lacking, 422, "unknown_head")["detail"]
    unknown = client.post("/v1/predictions", json={"models": ["a", "several"], "heads": ["labl"], **wide})
    assert "did you mean 'label'?" in check_problem(unknown, 422, "unknown_head")["detail"]


def test_what_is_wrong_with_a_request_to_several_is_said(
    client: Http, services: Services, project_id: str, relatives: dict[str, ModelRow]
) -> None:
    add_model(services, project_id, "backbone", heads=False)
    add_bundle(services, project_id, "texts", bundle_of("text"))

    def refused(models: Any, status: int, **options: Any) -> str:
        answer = client.post("/v1/predictions", json={"models": models, **BODY}, **options)
        return str(check_problem(answer, status)["detail"])

    assert "models" in check_problem(client.post("/v1/predictions", json=BODY), 422)["detail"]
    assert "models" in refused([], 422)
    assert "models" in refused(["a"] * 65, 422)
    assert "no such model" in refused(["a", "none"], 404)
    assert "without heads" in refused(["a", "backbone"], 409)
    assert refused(["a", "texts"], 422).startswith("model 'texts': inputs.0")
    assert "application/json" in refused(["a"], 406, headers={"Accept": "application/x-npy"})
    wide = client.post("/v1/predictions?unknown=refuse", json={"models": ["a"], "inputs": [{"widht": 1}]})
    check_problem(wide, 422)
