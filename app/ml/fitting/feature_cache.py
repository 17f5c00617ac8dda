"""Features of frozen backbones on the worker's disk, for the next job on the same dataset and backbone.

A cache: whatever is lost or damaged is computed again. An entry is one file, named by what it depends on, written whole
or not at all, and carries a digest of its numbers; so jobs may share it while others write and delete. The entries that
were not used for the longest go when there are too many bytes.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from app.ml.data import tensor_file
from app.ml.errors import CorruptCheckpointError

log = logging.getLogger(__name__)

_NAME = "features"
_MAX_SHARE = 4  # no entry takes more than a fourth of all


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """Tensors by key below one folder; `dataset` says which stored rows they come from."""

    folder: Path
    most_bytes: int
    dataset: str

    def __call__(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """The tensor that is kept under `key`, or else the one that `compute` gives, which is kept from now on."""
        path = self.folder / f"{hashlib.sha256(f'{self.dataset}/{key}'.encode()).hexdigest()}.safetensors"
        kept = _read(path)
        if kept is not None:
            return kept
        tensor = compute()
        if tensor.nbytes <= self.most_bytes // _MAX_SHARE:
            self._keep(path, tensor)
        return tensor

    def _keep(self, path: Path, tensor: Tensor) -> None:
        """Write it and make room; a full disk is no reason to fail."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            manifest = {"sha256": _digest(tensor), "device": tensor.device.type}
            tensor_file.write_atomically(path, tensor_file.to_bytes({_NAME: tensor}, manifest))
            self._make_room()
        except OSError:
            log.warning("features could not be kept in %s", self.folder, exc_info=True)

    def _make_room(self) -> None:
        """Delete what was not used for the longest; another job may be faster."""
        entries = []
        for path in self.folder.glob("*.safetensors"):
            with contextlib.suppress(FileNotFoundError):
                entries.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size


def _read(path: Path) -> Tensor | None:
    """The tensor, marked as just used; None where there is none or it is damaged."""
    try:
        os.utime(path)
        tensors, manifest = tensor_file.read(path)
    except FileNotFoundError:
        return None
    except (CorruptCheckpointError, OSError) as error:
        log.warning("kept features are computed again: %s", error)
        return None
    tensor = tensors.get(_NAME)
    if tensor is None or manifest.get("sha256") != _digest(tensor):
        log.warning("kept features are computed again: %s is damaged", path.name)
        return None
    return tensor.to(manifest.get("device", "cpu"))


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
