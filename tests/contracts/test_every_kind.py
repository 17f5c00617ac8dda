"""One suite over every registered kind, present and future: nothing here names a kind that is being proved.

A kind is proved inside a whole training: the kind with its defaults, and the plainest choice of everything else.
"""

import copy
import inspect
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, TypeAdapter

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.configs.resolved import ResolvedFineTuning, ResolvedPretraining
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError, CorruptCheckpointError
from app.ml.fitting.evaluation import evaluate
from app.ml.interfaces import Backbone, BackboneRequest, HeadConfig, MethodRequest, ModalityKind
from app.ml.interfaces.abilities import Centroids, Mirrors, Patches, Sequences
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.layers import layer_widths
from app.ml.kinds.supervision.base import SupervisionRequest
from app.ml.models.assembly import FineTuning, build_heads, stacked, targets_of
from app.ml.models.bundle import Bundle
from app.ml.models.predictor import Predictor, load_bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from tests.support.answers import flat
from worker.training.events import EpochDone, Evaluated, Event, Finished, Started, StepDone
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run

REBUILD = {"backbone": {"kind": "mlp"}, "method": {"kind": "autoencoder"}}
TARGETS = {"category": "label", "number": "size", "label": ["round", "large"]}


@dataclass(frozen=True)
class Case:
    """A training in which one kind is proved."""

    modality: ModalityKind
    request: dict[str, Any]
    from_parent: bool = False

    @property
    def compares_rows(self) -> bool:
        """Whether its method needs batches of two rows and more."""
        method = self.request.get("method")
        return method is not None and kinds(FAMILIES["methods"])[method["kind"]].compares_rows

    @property
    def has_estimator(self) -> bool:
        """Whether a head learns an estimator."""
        return any(head.get("estimator") for head in self.request.get("heads", []))

    def run(self, *, rows: int = 48, **training: Any) -> Run:
        data = tiny.DATASETS[self.modality](rows)
        parent = pretrained(self.modality) if self.from_parent else None
        return make_run(data, {**self.request, "training": {"batch_size": 7, "epochs": 8, **training}}, parent)


def make_run(data: ArrayData, request: dict[str, Any], parent: Bundle | None = None) -> Run:
    if "heads" in request:
        config = FineTuningConfig.model_validate(request)
        resolved = resolve_fine_tuning(config, data.spec, parent.manifest if parent else None)
        return prepare(resolved.config, data, parent=parent)
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


@cache
def _pretrained(modality: ModalityKind) -> Bundle:
    run = make_run(tiny.DATASETS[modality](), {**REBUILD, "training": {"epochs": 2}})
    for _ in run.train():
        pass
    return run.bundle()


def pretrained(modality: ModalityKind) -> Bundle:
    """A parent of one's own, trained once for all tests."""
    return copy.deepcopy(_pretrained(modality))


def registered(family: str) -> list[tuple[str, type[Any]]]:
    return [(f"{family}-{kind}", config) for kind, config in kinds(FAMILIES[family]).items()]


def example(config: type[Any]) -> dict[str, Any]:
    """A kind's defaults as JSON, or a field's first example where it gives one; what learns labels needs a target."""
    if issubclass(config, HeadConfig) and config.accepts != "inputs":
        return config.model_validate({"target": TARGETS[config.accepts]}).model_dump(mode="json")
    if issubclass(config, SupervisionRequest):
        return config.model_validate({"target": TARGETS[config.accepts[0]]}).model_dump(mode="json")
    small = {name: field.examples[0] for name, field in config.model_fields.items() if field.examples}
    return config(**small).model_dump(mode="json")


def training_of(backbone: type[BackboneRequest], modality: ModalityKind) -> dict[str, Any]:
    """The first method that learns with this backbone from this modality; labels where only views would be compared."""
    looks_ahead = getattr(backbone, "causal", None) is False  # and can do nothing else
    for _, method in registered("methods"):
        if modality in method.accepts and method.needs <= backbone.provides and not (looks_ahead and method.causal):
            if method.compares_views:  # twelve tiny rows look alike
                return {"heads": [{"kind": "classifier", "target": "label"}], "strategy": {"kind": "full"}}
            return {"method": example(method)}
    if not backbone.learns:
        return {"heads": [{"kind": "classifier", "target": "label"}], "strategy": {"kind": "full"}}
    msg = f"no method trains {backbone.__name__} on {modality} data"
    raise AssertionError(msg)


def cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    classify = {"kind": "classifier", "target": "label"}
    for name, config in registered("backbones"):
        assert issubclass(config, BackboneRequest)
        for modality in config.accepts:
            found[f"{name}-{modality}"] = Case(modality, {"backbone": example(config), **training_of(config, modality)})
    for name, config in registered("methods"):
        for modality in config.accepts:
            found[f"{name}-{modality}"] = Case(modality, {"method": example(config)})
    found |= supervision_cases()
    for name, config in registered("augmentations"):
        for modality in config.accepts:
            found[f"{name}-{modality}"] = Case(
                modality, {"heads": [classify], "strategy": {"kind": "full"}, "augmentations": [example(config)]}
            )
    for name, config in registered("heads"):
        modality = "text" if config.accepts == "inputs" else "table"
        found[name] = Case(modality, {"heads": [example(config)], "strategy": {"kind": "full"}})
    together = [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}]
    for name, config in registered("balancing"):
        found[name] = Case("table", {"heads": together, "strategy": {"kind": "full"}, "balancing": example(config)})
    found |= estimator_cases()
    for name, config in registered("strategies"):
        found[name] = Case("image", {"heads": [classify], "strategy": example(config)}, from_parent=True)
    return found


def estimator_cases() -> dict[str, Case]:
    found = {}
    for name, config in registered("estimators"):
        for kind, target in (("classifier", "label"), ("regressor", ["size"])):
            head = {"kind": kind, "target": target, "estimator": example(config)}
            found[f"{name}-{kind}"] = Case("table", {"heads": [head]})
    return found


def supervision_cases() -> dict[str, Case]:
    found = {}
    for name, config in registered("supervision"):
        for accepted in config.accepts:
            labels = {**example(config), "target": TARGETS[accepted], "rows": 8}
            watch = {"target": TARGETS[accepted], "keep": "best", "rows": 20}
            found[f"{name}-{accepted}"] = Case("image", {**REBUILD, "labels": labels, "watch": watch})
    return found


CASES = cases()
SLOW = {"strategies-automatic"}  # trains each of its candidates
EVERY_CASE = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, case in CASES.items()]
)
EVERY_KIND = [(name, kind) for family in FAMILIES for name, kind in registered(family)]
CHOOSABLE = [(name, kind) for name, kind in EVERY_KIND if not name.startswith("modalities")]


def losses_of(events: list[Event]) -> list[float]:
    return [event.losses["loss"].item() for event in events if isinstance(event, StepDone)]


def measured_loss(run: Run) -> float:
    measured = run.evaluate("train")
    assert measured is not None
    return measured.losses["loss"]


def everything(backbone: Backbone, run: Run) -> torch.Tensor:
    with torch.no_grad():
        return backbone(run.modality.encode(run.data.inputs[:]))


@pytest.mark.parametrize(("name", "kind"), CHOOSABLE, ids=[name for name, _ in CHOOSABLE])
def test_a_config_survives_json_and_refuses_unknown_fields(name: str, kind: type[BaseModel]) -> None:
    family = TypeAdapter(FAMILIES[name.partition("-")[0]])
    config = kind.model_validate(example(kind))
    assert family.validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="unknown_field"):
        family.validate_python({**example(kind), "unknown_field": 1})


@pytest.mark.parametrize(("name", "kind"), EVERY_KIND, ids=[name for name, _ in EVERY_KIND])
def test_a_kind_is_documented(name: str, kind: type[BaseModel]) -> None:
    module = inspect.getmodule(kind)
    assert module is not None
    assert len(module.__doc__ or "") > 40
    assert (kind.__doc__ or "").endswith(".")
    for field, info in kind.model_fields.items():
        assert field == "kind" or (info.description or "").endswith("."), f"{field} needs a sentence"
    assert FAMILIES[name.partition("-")[0]], "belongs to a family"


@pytest.mark.parametrize(("name", "kind"), CHOOSABLE, ids=[name for name, _ in CHOOSABLE])
def test_numbers_are_bounded_and_strict(name: str, kind: type[BaseModel]) -> None:
    def numbers(schema: dict[str, Any]) -> list[dict[str, Any]]:
        nested = [value for value in schema.values() if isinstance(value, dict)]
        nested += [
            item for value in schema.values() if isinstance(value, list) for item in value if isinstance(item, dict)
        ]
        is_open = schema.get("type") in ("number", "integer") and not {"enum", "const"} & schema.keys()
        here = [schema] if is_open else []
        return here + [found for one in nested for found in numbers(one)]

    for number in numbers(kind.model_json_schema()):
        assert {"minimum", "exclusiveMinimum"} & number.keys(), f"{name}: {number} has no lower bound"
        assert {"maximum", "exclusiveMaximum"} & number.keys(), f"{name}: {number} has no upper bound"
    for field, info in kind.model_fields.items():
        if isinstance(info.default, int | float) and not isinstance(info.default, bool):
            for bad in (True, str(info.default), math.nan, math.inf):
                with pytest.raises(ValueError, match=field):
                    kind.model_validate({**example(kind), field: bad})


@EVERY_CASE
def test_it_builds_on_the_meta_device(case: Case) -> None:
    run = case.run()
    config = run.config
    with torch.device("meta"):
        backbone = config.backbone.build(run.modality.encoding)
        modules: list[torch.nn.Module] = [backbone]
        if isinstance(config, ResolvedPretraining):
            modules.append(config.method.build(backbone))
        else:
            targets = [targets_of(head, run.data.spec) for head in config.heads]
            modules.append(build_heads(config.heads, config.strategy, backbone, targets))
    assert all(value.is_meta for module in modules for value in module.state_dict().values())


@EVERY_CASE
def test_the_loss_is_finite_and_reaches_every_parameter_that_trains(case: Case) -> None:
    run = case.run()
    objective = run.state.objective
    losses = objective.training_loss(run.examples("train").batch(None))
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    if not any(parameter.requires_grad for parameter in objective.parameters()):
        assert run.plan.solves, "what has nothing to train is fitted at once"
        return
    losses["loss"].backward()
    reached = {name for name, one in objective.named_parameters() if one.grad is not None and one.grad.any()}
    run.state.optimizer.step()  # of two factors, one may begin at 0 and hide the other
    objective.training_loss(run.examples("train").batch(None))["loss"].backward()
    trained = {id(one) for group in objective.groups() for one in group.params}
    heads = isinstance(objective, FineTuning)
    frozen = heads and objective.strategy.caches_features
    for name, parameter in objective.named_parameters():
        assert (id(parameter) in trained) == parameter.requires_grad, name
        if id(parameter) in trained:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert name in reached or parameter.grad.any(), name
        if name.startswith("backbone.") and not frozen and (not heads or run.config.strategy.kind == "full"):
            assert id(parameter) in trained, f"training leaves {name} untouched"


@EVERY_CASE
@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_any_batch_size_trains(case: Case, batch_size: int) -> None:
    if batch_size == 1 and case.compares_rows:
        with pytest.raises(ConfigError, match="compares the rows of a batch"):
            case.run(rows=24, batch_size=batch_size, epochs=1)
        return
    run = case.run(rows=24, batch_size=batch_size, epochs=1)
    events = list(run.train())
    assert len(losses_of(events)) == (1 if run.plan.solves else math.ceil(run.plan.rows / batch_size))
    assert all(math.isfinite(loss) for loss in losses_of(events))


@EVERY_CASE
def test_a_tiny_set_is_overfitted(case: Case) -> None:
    """In 150 steps at most; ten losses in a row that are low enough are enough."""
    optimizer = {"kind": "adam", "lr": 0.005}
    run = case.run(rows=12, epochs=150, batch_size=100, optimizer=optimizer, schedule={"kind": "constant"})
    losses = [measured_loss(run)] if run.plan.solves else []
    for event in run.train():
        if isinstance(event, StepDone):
            losses.append(event.losses["loss"].item())
            low = losses[0] - 0.2 * abs(losses[0])
            if len(losses) > 10 and max(losses[-10:]) < low:
                break
    assert min(losses[-10:]) < low


@EVERY_CASE
def test_measuring_is_deterministic_and_leaves_training_untouched(case: Case) -> None:
    run = case.run()
    random = torch.get_rng_state()
    weights = {name: value.clone() for name, value in run.state.objective.state_dict().items()}
    first, second = run.evaluate("test"), run.evaluate("test")
    assert first == second
    assert first is not None
    json.dumps(first.as_json(), allow_nan=False)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(weights[name], value) for name, value in run.state.objective.state_dict().items())
    assert evaluate(run.state.objective, run.examples("test"), "test").scalars()["test/loss"] == first.losses["loss"]


@EVERY_CASE
def test_a_saved_model_answers_the_same(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = case.run(epochs=1)
    list(run.train())
    names = run.save_bundle(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    quick = load_bundle(tmp_path)
    monkeypatch.setattr("app.ml.models.array_model.MAX_MULTIPLICATIONS", 0)
    predictor = load_bundle(tmp_path)
    objective = run.state.objective.eval()
    features = everything(objective.backbone, run)
    assert torch.equal(torch.from_numpy(predictor.embed(run.data.inputs)), features)
    assert torch.allclose(torch.from_numpy(quick.embed(run.data.inputs)), features, rtol=1e-4, atol=1e-5)
    answers = predictor.predict(run.data.inputs)
    json.dumps(answers, allow_nan=False)
    assert len(answers) == 48
    assert [flat(answer) for answer in quick.predict(run.data.inputs)] == [
        pytest.approx(flat(answer), rel=1e-3, abs=1e-5) for answer in answers
    ]
    heads = run.config.heads if isinstance(run.config, ResolvedFineTuning) else ()
    assert all(set(answer) == {head.key for head in heads} for answer in answers)
    with torch.no_grad():
        outputs = run.bundle().outputs(run.modality.encode(run.data.inputs[:]))
        expected = [head.predict(outputs[key]) for key, head in run.bundle().heads.items()]
    assert [[answer[head.key] for answer in answers] for head in heads] == expected


@EVERY_CASE
def test_a_resumed_training_gives_the_same_losses_bit_for_bit(case: Case, tmp_path: Path) -> None:
    undisturbed = case.run(epochs=3)
    stop = min(8, undisturbed.plan.total_steps)
    expected: list[Event] = []
    for event in undisturbed.train():
        expected.append(event)
        if isinstance(event, StepDone) and event.step == stop:
            undisturbed.state.save(tmp_path / "state.safetensors")
    torch.manual_seed(999)  # whatever the new process has drawn before
    again = case.run(epochs=3)
    again.state.load(tmp_path / "state.safetensors")
    after = list(again.train())
    assert isinstance(after[0], Started)
    assert after[0].step == stop
    assert losses_of(after) == losses_of(expected)[stop:]
    assert [one for one in after if isinstance(one, Evaluated)] == [
        one for one in expected if isinstance(one, Evaluated) and one.step >= stop
    ]
    wanted = undisturbed.state.objective.state_dict()
    assert all(torch.equal(wanted[name], value) for name, value in again.state.objective.state_dict().items())


@EVERY_CASE
def test_two_runs_of_one_seed_are_equal_and_another_seed_differs(case: Case, tmp_path: Path) -> None:
    """Also where the state of one is saved on its way."""
    first, other = (losses_of(list(case.run(epochs=1, seed=seed).train())) for seed in (3, 4))
    saved = case.run(epochs=1, seed=3)
    second = []
    for event in saved.train():
        second.append(event)
        if isinstance(event, StepDone) and event.step == 1:
            saved.state.save(tmp_path / "state.safetensors")
    assert losses_of(second) == first
    if not case.has_estimator:  # which may draw, and may not
        assert (first == other) == saved.plan.solves, "only an optimum does not depend on where one starts"


@EVERY_CASE
def test_a_state_of_another_training_is_refused(case: Case, tmp_path: Path) -> None:
    run = case.run()
    path = tmp_path / "state.safetensors"
    other = make_run(tiny.table(), {"backbone": {"kind": "mlp", "hidden": [3]}, "training": {"epochs": 1}})
    other.state.save(path)
    before = {name: value.clone() for name, value in run.state.objective.state_dict().items()}
    with pytest.raises(CorruptCheckpointError, match="does not belong"):
        run.state.load(path)
    assert all(torch.equal(before[name], value) for name, value in run.state.objective.state_dict().items())


@EVERY_CASE
def test_the_decisions_explain_every_auto(case: Case) -> None:
    data = tiny.DATASETS[case.modality]()
    parent = pretrained(case.modality) if case.from_parent else None
    if "heads" in case.request:
        resolved: Any = resolve_fine_tuning(
            FineTuningConfig.model_validate(case.request), data.spec, parent.manifest if parent else None
        )
    else:
        resolved = resolve_pretraining(PretrainingConfig.model_validate(case.request), data.spec)
    assert '"auto"' not in resolved.config.model_dump_json()
    assert all(decision.reason for decision in resolved.decisions)
    for decision in resolved.decisions:
        value: Any = resolved.config.model_dump(mode="json")
        for part in decision.field.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        assert value == decision.value, decision.field
    again = type(resolved.config).model_validate_json(resolved.config.model_dump_json())
    assert again == resolved.config


BACKBONE_CASES = {name: case for name, case in CASES.items() if name.startswith("backbones")}


@pytest.mark.parametrize("case", BACKBONE_CASES.values(), ids=BACKBONE_CASES)
def test_a_backbone_keeps_its_shapes(case: Case) -> None:
    run = case.run()
    backbone = run.state.objective.backbone.eval()
    inputs = run.modality.encode(run.data.inputs[:3])
    features = backbone(inputs)
    assert features.shape == (3, backbone.features)
    layers = backbone.layers(inputs)
    assert all(layer.ndim == 2 and len(layer) == 3 for layer in layers)
    assert torch.equal(layers[-1], features)
    with torch.device("meta"):  # as a request for a probe on all layers is checked
        widths = layer_widths(run.config.backbone.build(run.modality.encoding))
    assert widths == tuple(layer.shape[1] for layer in layers)
    if isinstance(backbone, Mirrors):
        assert backbone.mirror()(features).shape == inputs.shape
    stages = [parameter for stage in backbone.stages() for parameter in stage]
    assert len(stages) == len(set(map(id, stages))) == len(list(backbone.parameters()))
    abilities = {"mirror": Mirrors, "sequence": Sequences, "patches": Patches, "centroids": Centroids}
    assert run.config.backbone.provides == {name for name, kind in abilities.items() if isinstance(backbone, kind)}
    assert torch.allclose(backbone(inputs[1:2]), features[1:2], atol=1e-5), "rows do not depend on each other"


PART_TYPES = {"text": "U", "number": "f", "probability": "f", "truth": "b", "count": "i"}
HEAD_CASES = {name: case for name, case in CASES.items() if name.startswith("heads")}


@pytest.mark.parametrize("case", HEAD_CASES.values(), ids=HEAD_CASES)
def test_a_head_ignores_missing_labels_and_stays_finite(case: Case) -> None:
    run = case.run()
    (head,) = run.bundle().heads.values()
    config = run.config.heads[0]
    if config.accepts == "inputs":
        pytest.skip("its target is never missing: it is the row itself")
    target = stacked(config, run.examples("train").targets).clone()
    features = torch.randn(len(target), run.state.objective.backbone.features)
    output = head(features)
    missing = math.nan if config.accepts == "number" else -1
    half = target.clone()
    half[::2] = missing
    assert torch.allclose(head.loss(output, half), head.loss(output[1::2], target[1::2]), rtol=1e-5)
    assert head.loss(output, torch.full_like(target, missing)).item() == 0
    scores = head.row_scores(output, half)
    assert scores[::2].isnan().all()
    assert torch.allclose(scores[1::2], head.row_scores(output[1::2], target[1::2]))
    assert scores[1::2].isfinite().all()
    nothing = head.evaluate(output, torch.full_like(target, missing))
    assert set(nothing) == set(head.evaluate(output, target))
    for scale in (1, 1e38, math.inf):
        json.dumps(head.predict(output * scale), allow_nan=False)


@pytest.mark.parametrize("case", HEAD_CASES.values(), ids=HEAD_CASES)
def test_a_head_says_of_which_parts_its_answers_are(case: Case) -> None:
    run = case.run()
    bundle = run.bundle()
    (entry,) = bundle.manifest.heads
    answers = Predictor(bundle).predict(tiny.DATASETS[case.modality](5).inputs)
    parts = entry.config.answer_parts(entry.targets)
    assert [part.name for part in parts].index("") == 0
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        values = np.array([part.read(answer[entry.config.key]) for answer in answers])
        assert values.reshape(5, *part.shape).dtype.kind == PART_TYPES[part.type]
        assert not part.labels or len(part.labels) == part.shape[-1]


def plain_name(name: str) -> str:
    """The tensor that a parameter is, or corrects."""
    return re.sub(r"parametrizations\.(\w+)\..*", r"\1", name)


STRATEGIES = [config for _, config in registered("strategies")]


@pytest.mark.parametrize("config", STRATEGIES, ids=[config.__name__ for config in STRATEGIES])
def test_a_strategy_moves_what_it_says_and_nothing_else(config: type[StrategyConfig]) -> None:
    parent = pretrained("image")
    before = {name: value.clone() for name, value in parent.backbone.state_dict().items()}
    request = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": example(config)}
    run = make_run(tiny.images(), {**request, "training": {"epochs": 2}}, parent)
    list(run.train())
    backbone = run.state.objective.backbone
    trained = {id(one) for group in run.state.objective.groups() for one in group.params}
    expected = {plain_name(name) for name, one in backbone.named_parameters() if id(one) in trained}
    kept = run.bundle().backbone.state_dict()
    assert kept.keys() == before.keys(), "what a strategy puts in, it takes out again"
    assert {name for name in before if not torch.equal(before[name], kept[name])} == expected
    for name, one in backbone.named_parameters():
        assert id(one) in trained or torch.equal(one, before[plain_name(name)]), name
    assert all(torch.equal(before[name], value) for name, value in parent.backbone.state_dict().items())


def test_the_loop_tells_everything_in_order() -> None:
    events = list(CASES["backbones-mlp-image"].run(epochs=2, batch_size=20, evaluate_every=1).train())
    kinds_told = [type(event) for event in events]
    epoch = [StepDone, StepDone, EpochDone, Evaluated]
    assert kinds_told == [Started, *epoch, *epoch, Finished]


def test_every_method_is_a_method() -> None:
    assert all(issubclass(config, MethodRequest) for _, config in registered("methods"))
