"""The network of every peer: 784-256-128-10 with the weights of the models that Graftwork trained.

Imported by the Python of each peer, which has torch and NumPy and may have nothing else. WEIGHTS names a folder with a
file of each model, which the bench wrote.
"""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

MODELS = ("table", "image")


def network(model: str) -> nn.Sequential:
    """Return the network of a model in eval mode; it uses one thread."""
    torch.set_num_threads(1)
    layers: list[nn.Module] = []
    with np.load(Path(os.environ["WEIGHTS"]) / f"{model}.npz") as arrays:
        for number in range(len(arrays) // 2):
            weight, bias = (torch.from_numpy(arrays[f"{name}{number}"]) for name in ("weight", "bias"))
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.weight.data, linear.bias.data = weight, bias
            layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def probabilities(network: nn.Module, rows: ArrayLike) -> NDArray[np.float32]:
    """Rows (N, ...) of 784 numbers to probabilities (N, 10)."""
    inputs = np.asarray(rows, dtype=np.float32)
    with torch.inference_mode():
        answer: NDArray[np.float32] = network(torch.from_numpy(inputs.reshape(len(inputs), -1))).softmax(1).numpy()
    return answer
