"""Labels that join a pretraining: the combined loss against other computations of it, and that they help."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import PretrainingConfig
from app.ml.configs.resolved import ResolvedPretraining
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.interfaces import Batch
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.kinds.supervision.base import JointObjective
from app.ml.kinds.supervision.contrastive import class_contrast
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import digits, tiny
from worker.training.run import Run, prepare

METHODS = [(kind, modality) for kind, config in kinds(FAMILIES["methods"]).items() for modality in config.accepts]
LABEL = {"kind": "supervised", "target": "label"}
MLP = {"kind": "mlp", "hidden": [64, 32]}


def pretraining(data: ArrayData, labels: dict[str, Any] | None, **fields: Any) -> Run:
    config = PretrainingConfig.model_validate({"labels": labels, **fields})
    return prepare(resolve_pretraining(config, data.spec).config, data)


def partly_labelled(modality: str, every: int = 3) -> ArrayData:
    """Two of three rows lack their labels."""
    data = tiny.DATASETS[modality]()  # type: ignore[index]
    data.targets[np.arange(len(data.targets)) % every != 0] = math.nan
    return data


def joint(run: Run) -> JointObjective:
    assert isinstance(run.state.objective, JointObjective)
    return run.state.objective.eval()


def cross_entropy(run: Run, batch: Batch) -> float:
    """By hand, in float64: the mean of -log p_y over the rows whose class is known."""
    objective = joint(run)
    layer = dict(objective.term.named_parameters())
    weight, bias = (layer[f"head.layers.0.0.{name}"].detach().double().numpy() for name in ("weight", "bias"))
    with torch.no_grad():
        features = objective.backbone(batch.inputs).double().numpy()
    classes = batch.targets["label"].numpy()
    costs = []
    for row, wanted in zip(features @ weight.T + bias, classes, strict=True):
        if wanted >= 0:
            costs.append(math.log(np.exp(row - row.max()).sum()) + row.max() - row[wanted])
    return float(np.mean(costs))


@pytest.mark.parametrize(("kind", "modality"), METHODS)
def test_the_loss_is_the_methods_and_that_of_the_rows_with_a_label(kind: str, modality: str) -> None:
    run = pretraining(partly_labelled(modality), {**LABEL, "weight": 3.5}, method={"kind": kind})
    batch = run.examples("train").batch(None)
    assert 0 < (batch.targets["label"] < 0).sum() < len(batch)
    objective = joint(run)
    with torch.no_grad():
        torch.manual_seed(1)
        alone = objective.method.loss(batch)
        torch.manual_seed(1)
        together = objective.loss(batch)
    wanted = cross_entropy(run, batch)
    assert together["labels"].item() == pytest.approx(wanted, rel=1e-4)
    assert together["method"] == alone["loss"]
    assert together["loss"].item() == pytest.approx(alone["loss"].item() + 3.5 * wanted, rel=1e-4)
    assert together.keys() - alone.keys() == {"labels", "method"}


def test_a_split_is_measured_over_the_rows_that_carry_a_label() -> None:
    run = pretraining(partly_labelled("image"), LABEL, backbone={"kind": "mlp"})
    examples, objective = run.examples("train"), joint(run)
    with torch.no_grad():
        parts = objective.measure(examples.batch(block) for block in torch.arange(len(examples)).split(5))
    assert parts["labels"].item() == pytest.approx(cross_entropy(run, examples.batch(None)), rel=1e-4)


def test_a_number_is_learned_by_its_squared_deviation() -> None:
    data = partly_labelled("table")
    run = pretraining(data, {"kind": "supervised", "target": "size"})
    batch, objective = run.examples("train").batch(None), joint(run)
    sizes = data.targets[data.split == 0, 1]
    wanted = (sizes - np.nanmean(sizes)) / np.nanstd(sizes)
    with torch.no_grad():
        answers = objective.term(objective.backbone(batch.inputs))[:, 0].numpy()
        measured = objective.loss(batch)["labels"].item()
    assert measured == pytest.approx(np.nanmean((wanted - answers) ** 2), rel=1e-4)


def test_class_contrast_is_that_of_the_paper() -> None:
    random = np.random.default_rng(0)
    views, classes, tau = random.normal(size=(11, 5)), random.integers(0, 4, 11), 0.3
    classes[0] = 9  # alone: it has no partner and does not count
    unit = views / np.linalg.norm(views, axis=1, keepdims=True)
    costs = []
    for i in range(11):
        others = [a for a in range(11) if a != i]
        total = sum(math.exp(unit[i] @ unit[a] / tau) for a in others)
        partners = [p for p in others if classes[p] == classes[i]]
        if partners:
            terms = [math.log(math.exp(unit[i] @ unit[p] / tau) / total) for p in partners]
            costs.append(-sum(terms) / len(partners))
    found = class_contrast(torch.tensor(views), torch.tensor(classes), tau)
    assert found.item() == pytest.approx(np.mean(costs), rel=1e-5)
    assert class_contrast(torch.tensor(views[:3]), torch.tensor([0, 1, 2]), tau).item() == 0


def test_a_step_draws_among_the_labelled_rows_alone() -> None:
    """What unlabelled rows would have been called changes nothing."""
    data = partly_labelled("image", every=8)
    run = pretraining(data, {**LABEL, "rows": 500}, backbone={"kind": "mlp"})
    objective = joint(run)
    drawn = objective._drawn()
    carriers = int((run.examples("train").targets["label"] >= 0).sum())
    assert len(drawn) == carriers == 4
    assert (drawn.targets["label"] >= 0).all()


@pytest.mark.parametrize(
    ("labels", "place", "word"),
    [
        ({"kind": "supervised", "target": "colour"}, ("labels", "target"), "it has 'label', 'size'"),
        ({"kind": "contrastive", "target": "size"}, ("labels", "kind"), "use supervised"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(labels: dict[str, Any], place: tuple[str, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as refused:
        pretraining(tiny.table(), labels)
    assert refused.value.loc == place


def test_labels_without_a_labelled_row_are_refused() -> None:
    data = tiny.table()
    spec = data.spec.model_copy(update={"labelled": {"label": {"train": 0, "validation": 0, "test": 0}}})
    config = PretrainingConfig.model_validate({"labels": LABEL})
    with pytest.raises(ConfigError, match="no training row carries"):
        resolve_pretraining(config, spec)


@pytest.mark.parametrize(("method", "weight"), [("autoencoder", 6.4), ("vicreg", 1.0)])
def test_the_weight_follows_what_the_method_sums_over(method: str, weight: float) -> None:
    run = pretraining(tiny.images(), LABEL, method={"kind": method})
    assert isinstance(run.config, ResolvedPretraining)
    assert run.config.labels is not None
    assert run.config.labels.weight == pytest.approx(weight)


def test_the_model_says_which_labels_it_saw_and_its_method_keeps_its_own() -> None:
    data = tiny.images()
    alone, labelled = (pretraining(data, labels, method={"kind": "vae"}).bundle() for labels in (None, LABEL))
    assert alone.manifest.labels is None
    assert labelled.manifest.labels is not None
    assert labelled.manifest.labels.target == "label"
    assert labelled.method.keys() == alone.method.keys()


@pytest.mark.slow
@pytest.mark.parametrize("draw", range(3))
def test_few_labels_make_better_features_of_real_digits(draw: int) -> None:
    """A VAE of handwritten digits with ten labels each: the same probe on the same labels, on digits never seen."""
    data, found = digits.few_labels(draw, per_class=10), {}
    for kind in ("none", "supervised", "contrastive"):
        labels = None if kind == "none" else {"kind": kind, "target": "label"}
        training = {"steps": 150, "batch_size": 128, "seed": draw}
        run = pretraining(data, labels, backbone=MLP, method={"kind": "vae"}, training=training)
        list(run.train())
        found[kind] = digits.probed(run.bundle(), data)
    assert found["supervised"] > found["none"] + 0.05
    assert found["contrastive"] > found["none"] + 0.05
