"""A safetensors file from strangers: which tensors it holds, checked before one is read.

The library refuses headers that are too long, cut short, overlapping or past the end; here come a closed list of number
types, bounds, and names. Metadata is not looked at.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import safetensors
import torch
from torch import Tensor

from app.ml.data.tensor_file import Tensors
from app.ml.errors import WeightsError
from app.ml.interfaces import Shape
from app.ml.models.assembly import MAX_PARAMETERS

MAX_TENSORS = 10_000
MAX_ERRORS = 20
FLOATS = ("F32", "F16", "BF16")
_HEADER = 9  # bytes: the header's length, and the brace that it begins with


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors by name: what is known of each, and how it is read."""

    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    read: Callable[[str], Tensor]

    def renamed(self, change: Callable[[str], str]) -> "Weights":
        """The same tensors under other names. Raises `WeightsError` where two get one name."""
        names = {change(name): name for name in self.shapes}
        if len(names) < len(self.shapes):
            refuse(["holds a tensor twice, under two spellings of its name"])
        return Weights(
            {new: self.shapes[old] for new, old in names.items()},
            {new: self.dtypes[old] for new, old in names.items()},
            lambda name: self.read(names[name]),
        )

    def check(self, expected: Mapping[str, Shape], passed_over: Callable[[str], bool]) -> None:
        """Compare with the tensors that an architecture has. Raises `WeightsError` naming what differs."""
        words = [f"lacks {name} {tuple(shape)}" for name, shape in expected.items() if name not in self.shapes]
        for name, shape in self.shapes.items():
            if name in expected and shape != tuple(expected[name]):
                words.append(f"{name} has the shape {shape}, not {tuple(expected[name])}")
            elif name in expected and self.dtypes[name] not in FLOATS:
                words.append(f"{name} holds {self.dtypes[name]} numbers: {', '.join(FLOATS)} are read")
            elif name not in expected and not passed_over(name):
                words.append(f"has an unknown {name[:200]}")
        numbers = sum(math.prod(shape) for shape in expected.values())
        if numbers > MAX_PARAMETERS:
            words.insert(0, f"the network has {numbers:,} parameters; at most {MAX_PARAMETERS:,} are taken")
        if words:
            refuse(words)

    def take(self, name: str) -> Tensor:
        """One of the checked tensors as float32. Raises `WeightsError` where a number is not finite."""
        tensor = self.read(name).to(torch.float32, copy=True)  # a copy: what is read lies in the mapped file
        if not tensor.isfinite().all():
            refuse([f"{name} holds NaN or infinite numbers"])
        return tensor


def refuse(words: list[str]) -> NoReturn:
    """Refuse tensors, each said in words; at most twenty of them. Raises `WeightsError`."""
    more = [f"and {len(words) - MAX_ERRORS} more"] if len(words) > MAX_ERRORS else []
    raise WeightsError([(("file",), word) for word in (*words[:MAX_ERRORS], *more)], code="weights_do_not_fit")


def looks_like_safetensors(head: bytes) -> bool:
    """Tell by the first nine bytes of a file."""
    return len(head) >= _HEADER and head[_HEADER - 1 : _HEADER] == b"{"


@contextmanager
def open_safetensors(path: Path) -> Iterator[Weights]:
    """The tensors of a file, read one by one while this is open. Raises `WeightsError`."""
    with path.open("rb") as file:
        if not looks_like_safetensors(file.read(_HEADER)):
            msg = "this is no safetensors file: save the weights as one (pickles, .bin, .h5, .onnx, .gguf are not read)"
            raise WeightsError([(("file",), msg)], code="unsupported_format")
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            yield _described(opened)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        msg = f"the safetensors file is damaged: {str(error)[:300]}"
        raise WeightsError([(("file",), msg)], code="damaged_weights") from None


def from_tensors(tensors: Tensors) -> Weights:
    """Tensors that are in memory already."""
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    dtypes = {name: names.get(tensor.dtype, str(tensor.dtype)) for name, tensor in tensors.items()}
    return Weights({name: tuple(tensor.shape) for name, tensor in tensors.items()}, dtypes, lambda name: tensors[name])


def _described(opened: Any) -> Weights:
    names = list(opened.keys())
    if len(names) > MAX_TENSORS:
        refuse([f"holds {len(names)} tensors; at most {MAX_TENSORS} are looked at"])
    slices = {name: opened.get_slice(name) for name in names}
    shapes = {name: tuple(int(size) for size in entry.get_shape()) for name, entry in slices.items()}
    return Weights(shapes, {name: str(entry.get_dtype()) for name, entry in slices.items()}, opened.get_tensor)
