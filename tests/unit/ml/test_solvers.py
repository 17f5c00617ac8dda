"""The solvers against scikit-learn's, and what they do with labels that are few, missing or alone."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import log_loss
from torch import Tensor

from app.ml.solvers import basis, regularization_path
from app.ml.solvers.folds import FOLDS, NEVER, stratified
from app.ml.solvers.logistic import SoftLabels, solve_logistic, solve_soft
from app.ml.solvers.ridge import solve_ridge


def problem(rows: int, width: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features of unequal variance, and classes that depend on them, with noise."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, width, generator=random) * torch.arange(1, width + 1) ** -0.5
    logits = features @ torch.randn(width, classes, generator=random)
    noise = -torch.rand(rows, classes, generator=random).log().neg().log()
    labels = (2 * logits / logits.std() + noise).argmax(1)
    return features - features.mean(0), labels


def centred(values: Any) -> Any:
    """Logits are the same for any constant added to all classes."""
    return values - values.mean(0)


@pytest.mark.parametrize(("rows", "width"), [(300, 20), (60, 200)], ids=["many rows", "many features"])
@pytest.mark.parametrize("by_axes", [True, False])
def test_the_optimum_is_scikit_learns(rows: int, width: int, monkeypatch: pytest.MonkeyPatch, by_axes: bool) -> None:
    if not by_axes:
        monkeypatch.setattr(basis, "MAX_AXES", 1)
    features, labels = problem(rows, width, 4)
    found = solve_logistic(features, labels, torch.ones(4))
    reference = LogisticRegression(C=1 / found.strength, tol=1e-9, max_iter=100_000)
    reference.fit(features.double().numpy(), labels.numpy())
    assert np.allclose(centred(found.weight.numpy()), reference.coef_, atol=2e-5)
    assert np.allclose(centred(found.bias.numpy()), centred(reference.intercept_), atol=2e-5)


def test_the_optimum_of_many_classes_is_scikit_learns() -> None:
    """With 120 classes, three rows each: the probabilities, and the loss with the penalty to a millionth."""
    random = np.random.default_rng(0)
    classes = np.repeat(np.arange(120), 3)
    rows = random.normal(size=(120, 12))[classes] + random.normal(size=(360, 12))
    features, labels = torch.from_numpy(rows - rows.mean(0)).float(), torch.from_numpy(classes)
    solution = solve_logistic(features, labels, torch.ones(120))
    reference = LogisticRegression(C=1 / solution.strength, tol=1e-7, max_iter=10_000)
    reference.fit(features.double().numpy(), classes)
    logits = features.double() @ solution.weight.double().T + solution.bias.double()
    assert logits.softmax(1).numpy() == pytest.approx(reference.predict_proba(features.double().numpy()), abs=1e-4)

    def penalised_loss(probabilities: Any, weight: Any) -> float:
        return float(log_loss(classes, probabilities) * 360 + solution.strength / 2 * (weight**2).sum())

    optimum = penalised_loss(reference.predict_proba(features.double().numpy()), reference.coef_)
    assert penalised_loss(logits.softmax(1).numpy(), solution.weight.numpy()) == pytest.approx(optimum, rel=1e-6)


def test_balanced_classes_and_smoothing_are_part_of_the_optimum() -> None:
    features, labels = problem(200, 10, 3)
    weight = torch.tensor([0.5, 1.0, 3.0])
    found = solve_logistic(features, labels, weight)
    reference = LogisticRegression(
        C=1 / found.strength, tol=1e-9, max_iter=100_000, class_weight={0: 0.5, 1: 1.0, 2: 3.0}
    ).fit(features.double().numpy(), labels.numpy())
    assert np.allclose(centred(found.weight.numpy()), reference.coef_, atol=2e-5)
    smoothed = solve_logistic(features, labels, torch.ones(3), smoothing=0.3)
    rows = features.double() @ smoothed.weight.double().T + smoothed.bias.double()
    wanted = 0.7 * torch.nn.functional.one_hot(labels, 3) + 0.1
    # At the optimum of the unpenalised bias, classes are predicted as often as they are wanted.
    assert torch.allclose(rows.softmax(1).sum(0), wanted.double().sum(0), atol=1e-4)


def test_every_strengths_score_is_the_log_loss_of_rows_held_out() -> None:
    features, labels = problem(150, 30, 3)
    found = solve_logistic(features, labels, torch.ones(3))
    folds = stratified(labels, 5).numpy()
    rows, classes = features.double().numpy(), labels.numpy()
    for score in found.scores:
        losses = []
        for fold in range(5):
            held = folds == fold
            model = LogisticRegression(C=1 / score.strength, tol=1e-9, max_iter=100_000).fit(
                rows[~held], classes[~held]
            )
            answers = model.predict_proba(rows[held])
            losses.append(log_loss(classes[held], answers, labels=range(3)) * held.sum())
        assert score.loss == pytest.approx(sum(losses) / len(rows), abs=1e-3)
    assert found.strength == min(found.scores, key=lambda score: score.loss).strength
    assert found.scores[-1].loss > found.scores[-2].loss > found.loss, "the path ends beyond its valley"  # type: ignore[operator]


def test_the_path_ends_at_one_rise_that_is_beyond_doubt() -> None:
    random = torch.Generator().manual_seed(0)
    features, noise = torch.randn(800, 200, generator=random), torch.randn(800, 5, generator=random)
    labels = (features[:, :5] + noise).argmax(1)
    after_the_best = []
    for rows in (800, 60):
        losses = [score.loss for score in solve_logistic(features[:rows], labels[:rows], torch.ones(5)).scores]
        after_the_best.append(len(losses) - 1 - losses.index(min(losses)))
    assert after_the_best == [1, 2], "of few rows a rise may be chance"


def test_every_row_has_the_output_of_the_fold_that_did_not_know_it() -> None:
    """At the chosen strength, against scikit-learn; of classes that have rows."""
    features, labels = problem(150, 30, 3)
    solution = solve_logistic(features, labels + (labels == 2), torch.ones(4))  # class 2 has no rows
    folds = stratified(labels, 5).numpy()
    rows, classes = features.double().numpy(), labels.numpy()
    assert solution.out_of_fold is not None
    assert solution.out_of_fold.rows.tolist() == list(range(150))
    probabilities = solution.out_of_fold.outputs.double().softmax(1).numpy()
    for fold in range(5):
        held = folds == fold
        model = LogisticRegression(C=1 / solution.strength, tol=1e-9, max_iter=100_000).fit(rows[~held], classes[~held])
        known = probabilities[held][:, [0, 1, 3]]
        assert known / known.sum(1, keepdims=True) == pytest.approx(model.predict_proba(rows[held]), abs=2e-2)
    assert probabilities[:, 2] == pytest.approx(1 / 152, rel=0.02), "less than one row's share"
    lone = solve_logistic(features[:3], torch.tensor([0, 1, 2]), torch.ones(3))
    assert lone.out_of_fold is None


def test_a_large_problem_holds_out_one_fold_and_keeps_its_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = problem(150, 30, 3)
    small = solve_logistic(features, labels, torch.ones(3))
    monkeypatch.setattr(basis, "_LARGE", 1)
    large = solve_logistic(features, labels, torch.ones(3))
    held = stratified(labels, FOLDS).numpy() == 0
    rows, classes = features.double().numpy(), labels.numpy()
    for score in large.scores:
        model = LogisticRegression(C=1 / score.strength, tol=1e-9, max_iter=100_000).fit(rows[~held], classes[~held])
        expected = log_loss(classes[held], model.predict_proba(rows[held]), labels=range(3))
        assert score.loss == pytest.approx(expected, abs=1e-3)
    assert large.scores[-1].loss > large.scores[-2].loss == large.loss, "the path ends at the first rise"
    assert large.weight.dtype == torch.float32
    assert small.weight.dtype == torch.float64
    reference = LogisticRegression(C=1 / large.strength, tol=1e-9, max_iter=100_000).fit(rows, classes)
    assert np.allclose(centred(large.weight.numpy()), reference.coef_, atol=1e-3)


def test_trials_choose_the_strength_by_what_they_hold_out() -> None:
    features, labels = problem(150, 30, 3)
    held = torch.arange(150) < 40
    certain = torch.nn.functional.one_hot(labels, 3).double()
    rows = SoftLabels(certain, torch.ones(150).double())
    misled = SoftLabels(certain.roll(1, 1) * 0.1 + certain * 0.9, torch.where(held, 0.0, 0.5).double())
    found = solve_soft(features, rows, [(misled, held)], torch.ones(3))
    data, classes = features.double().numpy(), labels.numpy()
    others = np.tile(data[~held], (2, 1))
    taught = np.concatenate([classes[~held], (classes[~held] + 1) % 3])
    weight = np.repeat([0.45, 0.05], len(others) // 2)
    for score in found.scores:
        model = LogisticRegression(C=1 / score.strength, tol=1e-9, max_iter=100_000).fit(others, taught, weight)
        assert score.loss == pytest.approx(log_loss(classes[held], model.predict_proba(data[held])), abs=1e-3)
    reference = LogisticRegression(C=1 / found.strength, tol=1e-9, max_iter=100_000).fit(data, classes)
    assert np.allclose(centred(found.weight.numpy()), reference.coef_, atol=1e-4)
    assert len({score.loss for score in found.scores}) > 1
    assert solve_soft(features, rows, [], torch.ones(3)).scores == ()


def test_the_folds_may_be_solved_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = problem(150, 30, 3)
    together = solve_logistic(features, labels, torch.ones(3))
    monkeypatch.setattr(regularization_path, "_MAX_AT_ONCE", 1)
    in_turn = solve_logistic(features, labels, torch.ones(3))
    assert [one.loss for one in in_turn.scores] == pytest.approx([one.loss for one in together.scores], abs=1e-3)
    assert torch.allclose(in_turn.weight, together.weight, atol=1e-5)


@pytest.mark.parametrize(("rows", "width"), [(200, 30), (40, 90)], ids=["many rows", "many features"])
def test_ridge_is_scikit_learns_for_every_strength(rows: int, width: int) -> None:
    features, _ = problem(rows, width, 2)
    random = torch.Generator().manual_seed(1)
    wanted = (features @ torch.randn(width, 1, generator=random) + torch.randn(rows, 1, generator=random)).double() + 7
    found = solve_ridge(features + 3, wanted)
    reference = RidgeCV(alphas=[score.strength for score in found.scores], store_cv_results=True)
    reference.fit(features.double().numpy() + 3, wanted[:, 0].numpy())
    assert found.strength == reference.alpha_
    expected = reference.cv_results_.mean(0) / 2
    # Beyond, scikit-learn subtracts numbers that are nearly equal.
    assert [score.loss for score in found.scores[:12]] == pytest.approx(list(expected[:12]), rel=1e-3)
    assert np.allclose(found.weight[0].numpy(), reference.coef_, atol=1e-5)
    assert found.bias.item() == pytest.approx(reference.intercept_, abs=1e-4)


def test_a_fit_that_is_nearly_exact_is_not_taken_for_a_good_one() -> None:
    random = torch.Generator().manual_seed(0)
    features, noise = torch.randn(30, 200, generator=random), torch.randn(30, 1, generator=random)
    found = solve_ridge(features, noise)
    assert min(score.loss for score in found.scores) > 0.5 * noise.var().item() / 2, "noise cannot be foretold"
    for score in found.scores[::4]:
        model = Ridge(alpha=score.strength)
        errors = []
        for row in range(30):
            others = np.arange(30) != row
            model.fit(features.double().numpy()[others], noise[:, 0].double().numpy()[others])
            errors.append(model.predict(features.double().numpy()[~others])[0] - noise[row].item())
        assert score.loss == pytest.approx(np.square(errors).mean() / 2, rel=1e-3)


def test_a_large_ridge_is_solved_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _ = problem(120, 20, 2)
    wanted = features[:, :1] + 0.5 * torch.randn(120, 1, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(basis, "MAX_AXES", 1)
    found = solve_ridge(features, wanted)
    reference = Ridge(alpha=found.strength).fit(features.double().numpy(), wanted[:, 0].double().numpy())
    assert np.allclose(found.weight[0].numpy(), reference.coef_, atol=1e-5)
    assert len(found.scores) <= len(regularization_path.STRENGTHS)


def test_folds_are_stratified_and_never_hold_out_a_lone_row() -> None:
    classes = torch.tensor([0] * 50 + [1] * 23 + [2] * 5 + [3] * 2 + [4])
    folds = stratified(classes, 5)
    assert folds[-1] == NEVER
    counts = torch.stack([torch.bincount(classes[folds == fold], minlength=5) for fold in range(5)])
    assert (counts.max(0).values - counts.min(0).values <= 1).all()
    assert counts.sum(1).max() - counts.sum(1).min() <= 1
    assert torch.equal(folds, stratified(classes, 5))


def test_one_row_a_class_leaves_nothing_to_hold_out() -> None:
    features, _ = problem(4, 30, 4)
    found = solve_logistic(features, torch.arange(4), torch.ones(4))
    assert found.scores == ()
    assert found.loss is None
    assert (features @ found.weight.T.float() + found.bias.float()).argmax(1).tolist() == [0, 1, 2, 3]


def test_a_class_without_rows_is_unlikely_but_possible() -> None:
    features, labels = problem(100, 5, 3)
    found = solve_logistic(features, labels, torch.ones(5))
    probabilities = (features @ found.weight.T.float() + found.bias.float()).softmax(1)
    assert (probabilities[:, 3:] > 0).all()
    assert probabilities[:, 3:].mean() < 1 / 100
    present = solve_logistic(features, labels, torch.ones(3))
    assert torch.equal(found.weight[:3], present.weight)


def test_features_that_never_move_are_no_trouble() -> None:
    labels = torch.arange(20) % 2
    found = solve_logistic(torch.zeros(20, 7), labels, torch.ones(2))
    assert found.weight.abs().max() == 0
    assert found.bias.softmax(0).tolist() == pytest.approx([0.5, 0.5])
    assert solve_ridge(torch.zeros(20, 7), labels[:, None].double()).bias.item() == pytest.approx(0.5)
    assert solve_ridge(torch.ones(1, 7), torch.ones(1, 1)).bias.item() == pytest.approx(1.0)
