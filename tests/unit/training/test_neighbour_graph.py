"""Labels on a graph, against dense algebra on small graphs, and on real digits."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from sklearn.datasets import load_digits

from worker.training.label_propagation.graph import nearest, neighbour_graph, soft_labels, spread


def points(count: int = 60, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32))


def dense_graph(rows: torch.Tensor, count: int) -> np.ndarray:
    """S by loops."""
    distances = cdist(rows.double().numpy(), rows.double().numpy(), "sqeuclidean")
    weights = np.zeros_like(distances)
    for row in range(len(rows)):
        order = [other for other in np.argsort(distances[row]) if other != row][:count]
        for other in order:
            weights[row, other] = np.exp(-4 * distances[row, other] / distances[row, order[-1]])
    weights = (weights + weights.T) / 2
    degrees = weights.sum(1)
    return weights / np.sqrt(degrees[:, None] * degrees)


def test_the_nearest_are_found_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = points(50)
    distances = cdist(rows.numpy(), rows.numpy(), "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    for most in (1 << 26, 350):
        monkeypatch.setattr("worker.training.label_propagation.graph._MAX_PAIRS", most)
        indices, squared = nearest(rows, 4)
        assert indices.numpy().tolist() == np.argsort(distances, axis=1)[:, :4].tolist()
        assert squared.numpy() == pytest.approx(np.sort(distances, axis=1)[:, :4], rel=1e-3, abs=1e-5)


def test_the_graph_is_that_of_the_papers() -> None:
    rows = points()
    graph = neighbour_graph(rows, 5).to_dense().numpy()
    assert graph == pytest.approx(dense_graph(rows, 5), rel=1e-4, abs=1e-6)
    assert graph == pytest.approx(graph.T, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 0.99])
def test_labels_spread_as_the_closed_form_says(alpha: float) -> None:
    rows = points()
    labels = torch.full((60,), -1)
    labels[:6] = torch.tensor([0, 0, 1, 1, 2, 0])
    one_hot = np.zeros((60, 3))
    one_hot[np.arange(6), labels[:6]] = 1
    graph = neighbour_graph(rows, 5)
    expected = (1 - alpha) * np.linalg.inv(np.eye(60) - alpha * graph.to_dense().numpy()) @ one_hot
    scores = spread(graph, labels, 3, alpha)
    assert scores.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_every_class_gets_the_share_of_rows_that_it_has_of_the_labels() -> None:
    random = np.random.default_rng(0)
    scores = torch.from_numpy(random.gamma(0.5, size=(2000, 3)) * [5, 1, 0.2])
    labels = torch.full((2000,), -1)
    labels[:10] = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    shares, certainty = soft_labels(scores, labels, within=0.0)
    counts = np.bincount(shares.argmax(1), minlength=3) / 2000
    assert counts == pytest.approx([0.5, 0.3, 0.2], abs=2e-3)
    scales = (shares / scores).numpy()
    assert (scales / scales[:, :1]) == pytest.approx(np.tile(scales[0] / scales[0, 0], (2000, 1))), "columns are scaled"
    assert shares.sum(1).numpy() == pytest.approx(1)
    assert certainty.numpy() == pytest.approx(1 - entropy(shares.numpy(), axis=1) / np.log(3), abs=1e-6)
    free, _ = soft_labels(scores, labels, within=None)
    expected = scores.numpy() * [0.5, 0.3, 0.2] / scores.numpy().sum(0)
    assert free.numpy() == pytest.approx(expected / expected.sum(1, keepdims=True)), "by the masses alone"


def test_who_cannot_be_reached_gets_the_masses_and_no_certainty() -> None:
    rows = torch.cat([points(20), points(20, seed=1) + 1000])
    labels = torch.full((40,), -1)
    labels[:4] = torch.tensor([0, 0, 0, 1])
    shares, certainty = soft_labels(spread(neighbour_graph(rows, 3), labels, 2, 0.9), labels, within=0.0)
    assert torch.equal(shares[20:], torch.tensor([0.75, 0.25]).double().expand(20, 2))
    assert certainty[20:].max() < certainty[:4].min()


def test_one_label_for_each_real_digit_names_most_of_the_others() -> None:
    pixels, digits = load_digits(return_X_y=True)
    labels = torch.full((len(digits),), -1)
    for digit in range(10):
        labels[np.flatnonzero(digits == digit)[:3]] = digit
    graph = neighbour_graph(torch.from_numpy(pixels).float(), 10)
    shares, certainty = soft_labels(spread(graph, labels, 10, 0.99), labels, within=0.0)
    right = shares.argmax(1).numpy() == digits
    assert right.mean() > 0.9
    assert certainty[right].mean() > certainty[~right].mean()
