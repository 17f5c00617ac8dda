"""The published checkpoints of EfficientNet-Lite (pickles of torch's old format), read without unpickling them.

A file is known by its SHA-256, so the place of every tensor is known too: a table such as `efficientnet_lite0.json`
lists the byte offsets. One row is a convolution, its batch norm, the kernel's shape (O, I, H, W), and the offsets of
the kernel and of the norm's weight, bias, mean and variance; `classes` is the layer over ImageNet's classes.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from app.ml.data.tensor_file import Tensors
from app.ml.interfaces import Shape

TABLES = {
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": "efficientnet_lite0.json",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850": "efficientnet_lite1.json",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d": "efficientnet_lite2.json",
}


def read_published(content: bytes, sha256: str) -> Tensors:
    """Return the float32 tensors of a file whose SHA-256 is one of `TABLES`, under their published names."""
    table, tensors = Path(__file__).with_name(TABLES[sha256]), Tensors()
    offsets = json.loads(table.read_text(encoding="utf-8"))
    for convolution, norm, shape, (kernel, *figures) in offsets["layers"]:
        tensors[f"{convolution}.weight"] = _tensor(content, kernel, shape)
        for figure, offset in zip(("weight", "bias", "running_mean", "running_var"), figures, strict=True):
            tensors[f"{norm}.{figure}"] = _tensor(content, offset, shape[:1])
    name, shape, (weight, bias) = offsets["classes"]
    tensors[f"{name}.weight"] = _tensor(content, weight, shape)
    tensors[f"{name}.bias"] = _tensor(content, bias, shape[:1])
    return tensors


def _tensor(content: bytes, offset: int, shape: Shape) -> Tensor:
    numbers = np.frombuffer(content, "<f4", math.prod(shape), offset)
    if len(shape) == 4:  # noqa: PLR2004 - a kernel: the file has TensorFlow's order (H, W, I, O)
        outputs, inputs, height, width = shape
        numbers = numbers.reshape(height, width, inputs, outputs).transpose(3, 2, 0, 1)
    else:  # a matrix (O, I) lies transposed; a vector is its own transpose
        numbers = numbers.reshape(shape[::-1]).T
    return torch.from_numpy(numbers.copy())
