"""Tensors and a JSON manifest in one safetensors file, written so that a crash never leaves half of one."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from app.kit.files import sync_folder
from app.ml.errors import CorruptCheckpointError

_KEY = "manifest"  # one key only: the order of several in a safetensors header is not deterministic

Tensors = dict[str, Tensor]


def write_atomically(path: Path, content: bytes) -> str:
    """Write, flush to the disk, then rename: `path` is the old file or the whole new one. Returns its SHA-256."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return hashlib.sha256(content).hexdigest()


def to_bytes(tensors: Tensors, manifest: dict[str, Any] | None = None) -> bytes:
    """Serialise deterministically: equal tensors and manifest give equal bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    metadata = None if manifest is None else {_KEY: json.dumps(manifest, sort_keys=True, allow_nan=False)}
    return safetensors.torch.save(plain, metadata)


def read(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors on the CPU, and the manifest ({} if there is none). Raises `CorruptCheckpointError`."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            manifest = json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        msg = f"{path.name} cannot be read: {error}"
        raise CorruptCheckpointError(msg) from error
    if not isinstance(manifest, dict):
        msg = f"{path.name} has a manifest that is not an object"
        raise CorruptCheckpointError(msg)
    return tensors, manifest


def differences(found: Tensors, expected: Tensors) -> list[str]:
    """In words, where names, shapes or dtypes differ; at most ten."""
    words = [f"lacks {name}" for name in expected if name not in found]
    words += [f"has an unknown {name}" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        mine, theirs = expected[name], found[name]
        if (mine.shape, mine.dtype) != (theirs.shape, theirs.dtype):
            words.append(f"{name} is {theirs.dtype} {tuple(theirs.shape)}, not {mine.dtype} {tuple(mine.shape)}")
    return sorted(words)[:10]
