"""Nearness of an image's patches to learned centroids, pooled over the parts of the image.

Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised feature learning", 2011. Every patch x is
    normalised  n = (x - mean(x)) / sqrt(var(x) + e)
    whitened    z = W (n - m),  W = V (D + e')^-1/2 V^T of the patches' covariance V D V^T (ZCA)
    coded       triangle        f_k = max(0, mean_j |z - c_j| - |z - c_k|)
                soft_threshold  f_k = max(0, z . c_k / |c_k| - a)    (Coates and Ng, "The importance of encoding
                                versus training", 2011)
and the codes are averaged in the cells of a grid, which is the published sum up to a constant. The method `kmeans`
learns m, W (buffers) and the centroids c (parameters); until then the centroids are random patches of train rows.
"""

from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.precision import full_precision
from app.ml.blocks.shards import drawn
from app.ml.errors import ConfigError
from app.ml.fields import Auto, Integer, Real
from app.ml.interfaces import Backbone, BackboneConfig, BackboneRequest, Choices, Encoding, ResolutionContext
from app.ml.interfaces.abilities import Ability, Centroids
from app.ml.interfaces.values import ExampleSource
from app.ml.spec import ModalityKind

_USUAL_PATCH, _USUAL_CENTROIDS = 6, 200
_PATCHES_PER_CENTROID = 10  # fewer cannot tell where its middle is
_CONTRAST = 10 / 255**2  # e: what a patch varies by noise alone
_WHITENING = 0.1  # e'
_ROWS_AT_ONCE = 4  # the codes of so many images fit into a processor's cache
_MAX_ROWS_TO_INITIALIZE, _PATCHES_TO_WHITEN = 1_000, 10_000
_MIN_SQUARE = 1e-6  # below it a distance has no slope


Count = Annotated[Integer, Field(ge=2, le=8192)]
Side = Annotated[Integer, Field(ge=2, le=64)]


class KMeansPatches(BackboneRequest):
    """How near every patch of an image is to typical patches."""

    kind: Literal["kmeans_patches"] = "kmeans_patches"
    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    provides: ClassVar[frozenset[Ability]] = frozenset({"centroids"})
    centroids: Auto[Count] = Field("auto", description="How many typical patches there are.")
    patch: Auto[Side] = Field("auto", description="Side of a patch, in pixels.")
    stride: Integer = Field(1, ge=1, le=64, description="Pixels between two patches; 2 is a quarter of the work.")
    grid: Integer = Field(5, ge=1, le=16, description="Codes are pooled in so many cells each way.")
    code: Literal["triangle", "soft_threshold"] = Field(
        "triangle", description="How nearness becomes a number; soft_threshold is cheaper."
    )
    threshold: Real = Field(0.25, ge=0, le=100, description="What soft_threshold takes off; triangle needs none.")

    @classmethod
    def resolved_type(cls) -> "type[ResolvedKMeansPatches]":
        """Return the class that builds."""
        return ResolvedKMeansPatches

    def choices(self, context: ResolutionContext) -> Choices:
        """Patches of 6 pixels, 200 centroids; fewer where there are too few patches to find them."""
        patch: int = min(_USUAL_PATCH, *context.shape[:2]) if self.patch == "auto" else self.patch
        patches = context.train_rows
        for side in context.shape[:2]:
            patches *= max(side - patch, 0) // self.stride + 1
        centroids = max(2, min(_USUAL_CENTROIDS, patches // _PATCHES_PER_CENTROID))
        return {
            "patch": (patch, f"{_USUAL_PATCH}, or the whole of a smaller image"),
            "centroids": (centroids, f"{patches} patches to learn them from"),
        }


class ResolvedKMeansPatches(KMeansPatches, BackboneConfig):
    """The same with a known number of patches and centroids."""

    centroids: Count
    patch: Side

    def build(self, encoding: Encoding) -> "KMeansPatchesBackbone":
        """Build it for (C, H, W). Raises `ConfigError` where a patch is larger than the image."""
        return KMeansPatchesBackbone(self, encoding)


class KMeansPatchesBackbone(Backbone, Centroids):
    """(B, C, H, W) to (B, grid * grid * K)."""

    mean: Tensor
    whitening: Tensor

    def __init__(self, config: ResolvedKMeansPatches, encoding: Encoding) -> None:
        super().__init__()
        channels, height, width = encoding.shape
        if config.patch > min(height, width):
            msg = f"patches of {config.patch} pixels do not fit into {height} x {width}: choose smaller ones"
            raise ConfigError(("backbone", "patch"), msg)
        self.config, self.encoding, self.patch = config, encoding, config.patch
        self.features = config.grid**2 * config.centroids
        self.positions = tuple((side - config.patch) // config.stride + 1 for side in (height, width))
        values = channels * config.patch**2
        self.centroids = nn.Parameter(torch.randn(config.centroids, values))
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("whitening", torch.eye(values))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to (B, F), in float32 whatever the precision: distances are differences of large numbers."""
        if torch.compiler.is_exporting():  # as one block: a graph holds for any number of rows
            return self._features(inputs)
        with full_precision(inputs.device):
            return torch.cat([self._features(rows) for rows in torch.split(inputs, _ROWS_AT_ONCE)])

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """There is one."""
        return [self(inputs)]

    @torch.no_grad()
    def initialize(self, examples: ExampleSource) -> None:
        """Take random patches of train rows as typical ones: nearly as good as k-means (Coates and Ng, 2011).

        Torch's global generator stays as it is: the k-means that may follow draws as if nothing was.
        """
        with torch.random.fork_rng(devices=[]):
            rows = torch.randperm(len(examples))[:_MAX_ROWS_TO_INITIALIZE]
            count = -(-_PATCHES_TO_WHITEN // max(1, len(rows)))
            inputs = examples.batch(rows).inputs.to(self.centroids.device)
            patches = self.draw_patches(inputs, count)
            self.fit_whitening(patches)
            chosen = torch.randperm(len(patches))[: len(self.centroids)]
            self.centroids[: len(chosen)] = self.whitened(patches[chosen.to(patches.device)])

    def whitened(self, patches: Tensor) -> Tensor:
        """Normalised patches (N, D) to z (N, D)."""
        return (patches - self.mean) @ self.whitening

    def draw_patches(self, inputs: Tensor, count: int) -> Tensor:
        """Normalised patches at `count` random places of each image: (B, C, H, W) to (B * count, D)."""
        row = torch.arange(len(inputs), device=inputs.device)[:, None]
        tops, lefts = (
            drawn(partial(_places, side - self.patch + 1, count, inputs.device), len(inputs))
            for side in self.input_shape[1:]
        )
        windows = inputs.unfold(2, self.patch, 1).unfold(3, self.patch, 1)  # (B, C, H', W', P, P), a view
        return normalised(windows.permute(0, 2, 3, 1, 4, 5)[row, tops, lefts].flatten(0, 1).flatten(1))

    @torch.no_grad()
    def fit_whitening(self, patches: Tensor) -> None:
        """Learn m and W from normalised patches (N, D)."""
        self.mean.copy_(patches.mean(0))
        self.whitening.copy_(zca(patches))

    def _features(self, inputs: Tensor) -> Tensor:
        """(b, C, H, W) to (b, F)."""
        # Every patch of the image, normalised and whitened, coded against all centroids, then pooled to a grid.
        windows = F.unfold(inputs, self.patch, stride=self.config.stride)  # (b, D, positions)
        patches = self.whitened(normalised(windows.transpose(1, 2).flatten(0, 1)))
        if self.config.code == "triangle":
            codes = triangle(patches, self.centroids)
        else:
            codes = soft_threshold(patches, self.centroids, self.config.threshold)
        maps = codes.view(inputs.shape[0], *self.positions, -1).permute(0, 3, 1, 2)  # (b, K, rows, columns)
        return F.adaptive_avg_pool2d(maps, self.config.grid).flatten(1)


def _places(places: int, count: int, device: torch.device, rows: int) -> Tensor:
    """Draw places below `places`, (rows, count)."""
    return torch.randint(places, (rows, count), device=device)


def normalised(patches: Tensor) -> Tensor:
    """Every patch of (N, D) with mean 0 and a deviation of about 1, a flat one near 0."""
    # The constant keeps a flat patch flat: its noise is not blown up to a deviation of 1.
    variance, mean = torch.var_mean(patches, dim=1, correction=0, keepdim=True)
    return (patches - mean) * (variance + _CONTRAST).rsqrt()


def zca(patches: Tensor) -> Tensor:
    """The symmetric matrix (D, D) that makes the columns of (N, D) uncorrelated, each of variance 1 or less."""
    # X'X / N = V L V'; W = V (L + eps)^(-1/2) V', in float64 since small eigenvalues are inverted.
    centred = (patches - patches.mean(0)).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(patches))
    whitening: Tensor = (vectors * (values.clamp(min=0) + _WHITENING).rsqrt()) @ vectors.T
    return whitening.to(patches.dtype)


def squared_distances(patches: Tensor, centroids: Tensor) -> Tensor:
    """|z - c|^2 of every pair: (N, D), (K, D) to (N, K)."""
    # |c|^2 - 2 z.c in one product, then |z|^2: no (N, K, D) tensor.
    products = torch.addmm(centroids.square().sum(1), patches, centroids.T, alpha=-2)
    return products + patches.square().sum(1, keepdim=True)


def triangle(patches: Tensor, centroids: Tensor) -> Tensor:
    """How much nearer than the average centroid each one is, else 0: (N, D), (K, D) to (N, K)."""
    distances = squared_distances(patches, centroids).clamp(min=_MIN_SQUARE).sqrt()
    return (distances.mean(1, keepdim=True) - distances).relu()


def soft_threshold(patches: Tensor, centroids: Tensor, threshold: float) -> Tensor:
    """By how much the projection onto each centroid's direction passes the threshold: (N, D), (K, D) to (N, K)."""
    return (patches @ F.normalize(centroids, dim=1).T - threshold).relu()
