"""The masked autoencoder: encode a few patches of an image, and rebuild the others.

    loss = mean over rows and masked patches of the mean over their values of (p - p^)^2

The backbone encodes the visible patches alone; a light decoder gets their features and one learned token for every
masked patch, all with their places, and rebuilds the pixels. With `normalize` a patch to rebuild has its own mean
taken off and is divided by its own deviation. He et al., "Masked autoencoders are scalable vision learners", 2022.
"""

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from app.ml.blocks.attention import AttentionBlock
from app.ml.blocks.shards import drawn
from app.ml.errors import ConfigError
from app.ml.fields import Integer, Real
from app.ml.interfaces import Backbone, Batch, Losses, MethodConfig, Objective, ResolutionContext
from app.ml.interfaces.abilities import Ability, Patches
from app.ml.interfaces.values import TrainingDefaults
from app.ml.spec import ModalityKind

_MIN_VARIANCE = 1e-6
_TOKEN = 0.02  # deviation that learned tokens and places begin with


class MaskedAutoencoder(MethodConfig):
    """Rebuild the patches of an image that were masked."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("image",)
    needs: ClassVar[frozenset[Ability]] = frozenset({"patches"})
    kind: Literal["masked_autoencoder"] = "masked_autoencoder"
    masked: Real = Field(0.75, gt=0, lt=1, description="Share of the patches that is left out.")
    normalize: bool = Field(default=True, strict=True, description="Whether every patch to rebuild is standardised.")
    decoder_width: Integer = Field(64, ge=4, le=4096, description="Features of every patch in the decoder.")
    decoder_depth: Integer = Field(1, ge=1, le=32, description="Blocks of the decoder.")
    decoder_heads: Integer = Field(4, ge=1, le=64, description="Heads of the decoder's blocks; they share its width.")

    @model_validator(mode="after")
    def _width_is_shared(self) -> Self:
        if self.decoder_width % self.decoder_heads:
            msg = f"the decoder's width must be a multiple of its {self.decoder_heads} heads"
            raise ValueError(msg)
        return self

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """As published, but for fewer steps."""
        return TrainingDefaults(
            lr=1e-3,
            batches=100,
            steps=2000,
            min_epochs=10,
            max_epochs=400,
            weight_decay=0.05,
            warmup=0.05,
            precision="native",
        )

    def build(self, backbone: Backbone) -> "MaskedAutoencoderObjective":
        """Put the light decoder behind the backbone. Raises `ConfigError` where an image is a single patch."""
        return MaskedAutoencoderObjective(self, backbone)


class MaskedAutoencoderObjective(Objective):
    """Reports loss alone: it is per value."""

    def __init__(self, config: MaskedAutoencoder, backbone: Backbone) -> None:
        super().__init__()
        assert isinstance(backbone, Patches)
        count, width = backbone.patch_count, config.decoder_width
        if count <= 1:
            msg = "the image is a single patch, of which none can be left out: choose smaller patches"
            raise ConfigError(("backbone", "patch"), msg)
        self.config, self.backbone = config, backbone
        self.visible = min(max(1, round((1 - config.masked) * count)), count - 1)
        self.narrow = nn.Linear(backbone.width, width)
        self.token = nn.Parameter(_TOKEN * torch.randn(width))
        self.places = nn.Parameter(_TOKEN * torch.randn(count, width))
        self.blocks = nn.ModuleList(
            AttentionBlock(width, config.decoder_heads, 2 * width, 0.0, rotary=False)
            for _ in range(config.decoder_depth)
        )
        self.rebuild = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, backbone.patch_values))

    def loss(self, batch: Batch) -> Losses:
        """The scalar loss."""
        assert isinstance(self.backbone, Patches)
        patches = self.backbone.patches(batch.inputs)
        # A random order of each row's patches: the first V are encoded, the rest is to be rebuilt. (B, P)
        count, device = patches.shape[1], patches.device
        order = drawn(lambda rows: torch.rand(rows, count, device=device), len(patches)).argsort(1)
        visible, hidden = order[:, : self.visible], order[:, self.visible :]
        features = self.backbone.encode_patches(chosen(patches, visible), visible)
        rebuilt = self.decode(features, visible, hidden)
        return {"loss": masked_error(chosen(patches, hidden), rebuilt, normalize=self.config.normalize)}

    def decode(self, features: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Features (B, V, width) of the patches at `shown` (B, V) to the pixels of those at `hidden` (B, M)."""
        # The decoder gets V encoded patches and M copies of the learned token, each with its own position.
        known = self.narrow(features)
        unknown = self.token.expand(*hidden.shape, -1)
        values = torch.cat([known, unknown.to(known.dtype)], dim=1) + self.places[torch.cat([visible, hidden], dim=1)]
        for block in self.blocks:
            values = block(values, None, causal=False)
        # Only the masked patches are rebuilt: the loss does not count the others.
        rebuilt: Tensor = self.rebuild(values[:, self.visible :])
        return rebuilt


def chosen(patches: Tensor, places: Tensor) -> Tensor:
    """The patches (B, K, V) of (B, P, V) at places (B, K)."""
    return patches.gather(1, places[:, :, None].expand(-1, -1, patches.shape[2]))


def masked_error(patches: Tensor, rebuilt: Tensor, *, normalize: bool) -> Tensor:
    """Mean squared error over masked patches (B, M, V), to ()."""
    if normalize:
        # By each patch's own mean and deviation, so that the loss is about contrast and not about brightness.
        variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
        patches = (patches - mean) * (variance + _MIN_VARIANCE).rsqrt()
    return (rebuilt.to(patches.dtype) - patches).square().mean()
