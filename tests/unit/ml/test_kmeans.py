"""K-means patches against scikit-learn and loops; the centroids are found, the dead ones move, labels are not seen."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as Lloyd

from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import Examples, InMemory
from app.ml.errors import ConfigError
from app.ml.interfaces import Batch, Encoding, ResolutionContext
from app.ml.kinds.backbones.kmeans_patches import (
    KMeansPatches,
    KMeansPatchesBackbone,
    ResolvedKMeansPatches,
    normalised,
    zca,
)
from app.ml.kinds.methods.kmeans import KMeans, KMeansObjective
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.run import prepare


def backbone(code: str = "triangle", **fields: int) -> KMeansPatchesBackbone:
    torch.manual_seed(1)
    config = ResolvedKMeansPatches.model_validate({"centroids": 5, "patch": 3, "grid": 2, "code": code, **fields})
    found = config.build(Encoding(shape=(2, 7, 8)))
    found.fit_whitening(found.draw_patches(rows(50), 20))
    return found


def rows(count: int) -> torch.Tensor:
    return torch.rand(count, 2, 7, 8, generator=torch.Generator().manual_seed(2))


def clusters(count: int = 600) -> torch.Tensor:
    """Points of four clouds, two of them near each other."""
    random = np.random.default_rng(0)
    middles = np.array([[0, 0, 5], [0, 0, -5], [8, 0, 0], [-8, 3, 0]])
    return torch.from_numpy(middles[random.integers(0, 4, count)] + random.normal(size=(count, 3))).float()


@pytest.mark.parametrize("code", ["triangle", "soft_threshold"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_features_are_the_published_ones_patch_by_patch(code: str, stride: int) -> None:
    found = backbone(code, stride=stride)
    inputs = rows(6)
    features = found(inputs).detach().view(6, 5, 2, 2).double().numpy()
    mean, whitening, centroids = (
        value.detach().double().numpy() for value in (found.mean, found.whitening, found.centroids)
    )
    tops, lefts = range(0, 5, stride), range(0, 6, stride)
    for row, image in enumerate(inputs.double().numpy()):
        codes = np.zeros((5, len(tops), len(lefts)))
        for (i, top), (j, left) in itertools.product(enumerate(tops), enumerate(lefts)):
            patch = image[:, top : top + 3, left : left + 3].ravel()
            patch = (patch - patch.mean()) / math.sqrt(patch.var() + 10 / 255**2)
            z = (patch - mean) @ whitening
            if code == "triangle":
                distances = np.linalg.norm(z - centroids, axis=1)
                codes[:, i, j] = np.maximum(0, distances.mean() - distances)
            else:
                codes[:, i, j] = np.maximum(0, centroids @ z / np.linalg.norm(centroids, axis=1) - 0.25)
        for k, i, j in itertools.product(range(5), range(2), range(2)):
            cell = codes[k][cell_of(i, len(tops))][:, cell_of(j, len(lefts))]
            assert features[row, k, i, j] == pytest.approx(cell.mean(), abs=1e-4)


def cell_of(index: int, length: int) -> slice:
    """The half of a map, or where its side is odd one more."""
    return slice(index * length // 2, ((index + 1) * length + 1) // 2)


def test_whitened_patches_are_uncorrelated() -> None:
    patches = torch.randn(5000, 6) @ torch.randn(6, 6)
    covariance = torch.cov((patches @ zca(patches)).T)
    assert torch.allclose(covariance, torch.eye(6), atol=0.25), "up to what the floor holds back"
    assert torch.allclose(zca(patches), zca(patches).T, atol=1e-6)


def test_patches_are_those_of_the_image() -> None:
    found = backbone()
    image = rows(1)
    windows = torch.nn.functional.unfold(image, 3)[0].T
    drawn = found.draw_patches(image, 40)
    differences = (drawn[:, None] - normalised(windows)).abs().amax(2)
    assert differences.min(1).values.max() < 1e-5
    assert len(drawn.unique(dim=0)) > 15


def trained(points: torch.Tensor, begin: torch.Tensor, steps: int = 300) -> KMeansObjective:
    """The method on points that are patches already."""
    torch.manual_seed(3)
    config = ResolvedKMeansPatches(centroids=len(begin), patch=2)
    found = KMeans().build(config.build(Encoding(shape=(1, 2, 2))))
    found.backbone.centroids = torch.nn.Parameter(begin.clone())
    optimizer = torch.optim.Adam(found.parameters(), 0.05)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        found._revive(points)
        optimizer.zero_grad()
        found._losses(points)["loss"].backward()
        optimizer.step()
    return found


def test_the_loss_falls_to_that_of_lloyds_algorithm() -> None:
    points = clusters()
    begin = points[[0, 7, 14, 21]]
    reference = Lloyd(4, n_init=1, init=begin.numpy()).fit(points.numpy()).inertia_ / len(points)
    found = trained(points, begin)
    assert found._losses(points)["loss"].item() == pytest.approx(reference, rel=0.05)
    assert found._losses(points)["used"].item() == 1


def test_dead_centroids_move_to_the_farthest_patches() -> None:
    points = clusters(400)
    found = KMeans().build(ResolvedKMeansPatches(centroids=4, patch=2).build(Encoding(shape=(1, 2, 2))))
    far = torch.full((2, 3), 100.0)
    found.backbone.centroids = torch.nn.Parameter(torch.cat([points[:2], far]))
    found._revive(points)
    assert torch.equal(found.backbone.centroids.detach()[2:], far), "patience"
    found._revive(points)  # 2 * 400 patches are 200 for each of 4 centroids
    moved = found.backbone.centroids.detach()
    distances = torch.cdist(points, points[:2]).min(1).values
    assert torch.equal(moved[2:], points[distances.argsort(descending=True)[:2]])
    assert torch.equal(moved[:2], points[:2])
    assert found._losses(points)["used"].item() == 1


def test_measuring_moves_nothing() -> None:
    data = tiny.images()
    request = PretrainingConfig.model_validate({"method": {"kind": "kmeans"}})
    run = prepare(resolve_pretraining(request, data.spec).config, data)
    assert run.config.backbone.kind == "kmeans_patches"  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in run.state.objective.state_dict().items()}
    assert run.evaluate("validation") == run.evaluate("validation")
    assert all(torch.equal(before[name], value) for name, value in run.state.objective.state_dict().items())


def test_equal_patches_do_not_make_equal_centroids() -> None:
    found = KMeans().build(ResolvedKMeansPatches(centroids=6, patch=3).build(Encoding(shape=(1, 5, 5))))
    found.fit(Examples(InMemory(torch.zeros(4, 1, 5, 5)), {}))
    assert len(found.backbone.centroids.unique(dim=0)) == 6
    assert found.loss(Batch(torch.zeros(4, 1, 5, 5)))["loss"].isfinite()


def test_sizes_follow_the_data() -> None:
    def resolved(rows: int, side: int) -> tuple[object, object]:
        found, _ = KMeansPatches().resolve(ResolutionContext("image", (side, side, 1), rows))
        return found.patch, found.centroids

    assert resolved(60_000, 28) == (6, 200)
    assert resolved(3, 8) == (6, 2)
    assert resolved(100, 4) == (4, 10)
    request = {"backbone": {"kind": "kmeans_patches", "patch": 9}, "method": {"kind": "kmeans"}}
    with pytest.raises(ConfigError, match="do not fit into 8 x 8"):
        resolve_pretraining(PretrainingConfig.model_validate(request), tiny.images().spec)
