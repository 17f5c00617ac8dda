"""What Hugging Face and timm call the tensors of vision transformers, one table a family of files."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

_PREFIXES = ("vit.", "deit.", "ijepa.", "dinov2.", "dinov2_with_registers.")


@dataclass(frozen=True, slots=True)
class Names:
    """What a family of files calls its tensors; those of block N begin with `blocks` and N."""

    class_token: str
    other_tokens: tuple[str, ...]  # after the class token, in this order
    places: str
    patches: str
    norm: str
    blocks: str
    attention: tuple[str, ...]  # queries, keys and values, or all of them in one
    parts: Mapping[str, str]  # of a block, by our names
    scales: Mapping[str, str]  # LayerScale after a layer, where there is one
    passed_over: tuple[str, ...]  # what names begin with
    epsilon: float
    is_dinov2: bool = False  # LayerScale is in every file, and images were scaled as ImageNet's

    @property
    def of_block(self) -> tuple[str, ...]:
        """Names within a block."""
        layers = (*self.attention, *self.parts.values())
        return (*(f"{layer}.{figure}" for layer in layers for figure in ("weight", "bias")), *self.scales.values())


HUGGING_FACE = Names(
    class_token="embeddings.cls_token",  # noqa: S106 - no password
    other_tokens=("embeddings.distillation_token", "embeddings.register_tokens"),
    places="embeddings.position_embeddings",
    patches="embeddings.patch_embeddings.projection",
    norm="layernorm",
    blocks="encoder.layer.",
    attention=tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    parts={
        "attention.out": "attention.output.dense",
        "mlp.0": "intermediate.dense",
        "mlp.2": "output.dense",
        "norm_attention": "layernorm_before",
        "norm_mlp": "layernorm_after",
    },
    scales={},
    passed_over=(
        *("pooler.", "classifier.", "cls_classifier.", "distillation_classifier.", "decoder."),
        *("embeddings.mask_token", "embeddings.position_ids"),
    ),
    epsilon=1e-12,
)
_MLP = {"mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2", "norm_attention": "norm1", "norm_mlp": "norm2"}
DINOV2 = replace(
    HUGGING_FACE,
    parts={"attention.out": "attention.output.dense", **_MLP},
    scales={"attention.out": "layer_scale1.lambda1", "mlp.2": "layer_scale2.lambda1"},
    epsilon=1e-6,
    is_dinov2=True,
)
# As transformers names the modules since its version 5, which still saves the names above by default.
_ATTENTION_5 = tuple(f"attention.{part}" for part in ("q_proj", "k_proj", "v_proj"))
_MLP_5 = {"attention.out": "attention.o_proj", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}
HUGGING_FACE_5 = replace(HUGGING_FACE, blocks="layers.", attention=_ATTENTION_5, parts={**HUGGING_FACE.parts, **_MLP_5})
DINOV2_5 = replace(DINOV2, attention=_ATTENTION_5, parts={**DINOV2.parts, **_MLP_5})
TIMM = Names(
    class_token="cls_token",  # noqa: S106 - no password
    other_tokens=("dist_token", "reg_token"),
    places="pos_embed",
    patches="patch_embed.proj",
    norm="norm",
    blocks="blocks.",
    attention=("attn.qkv",),
    parts={"attention.out": "attn.proj", **_MLP},
    scales={"attention.out": "ls1.gamma", "mlp.2": "ls2.gamma"},
    passed_over=("head.", "head_dist.", "pre_logits.", "mask_token"),
    epsilon=1e-6,
)


FAMILIES = (HUGGING_FACE, HUGGING_FACE_5, DINOV2, DINOV2_5, TIMM)


def family_of(names: Collection[str]) -> Names:
    """The family that has the most names in common with a file's first block; they are without prefix."""
    return max(FAMILIES, key=lambda family: sum(f"{family.blocks}0.{name}" in names for name in family.of_block))


def without_prefix(name: str) -> str:
    """The name as the plain encoder has it, without the name of the model that it is a part of."""
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix)
