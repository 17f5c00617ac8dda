"""A registered model as files, and back.

    manifest.json          what it is: `Manifest`, with the SHA-256 of every other file
    backbone.safetensors   weights; a linear probe's are byte for byte its parent's
    heads.safetensors      only when it has heads
    method.safetensors     what a pretraining method learned besides the backbone (a decoder, say)
    golden.safetensors     what made-up rows became when the model was made: encoded, as features, and from every head
    tokenizer.json         only for texts

No file holds a row that the model was trained on: the golden rows are made up (`Modality.specimens`).
Nothing here is code: architectures come from our own unions, weights from safetensors.
"""

import copy
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
import torch
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.sized import expected_tensors
from app.ml.configs.online_probe import OnlineProbeConfig
from app.ml.data import tensor_file
from app.ml.data.tensor_file import Tensors
from app.ml.errors import ConfigError, CorruptCheckpointError, CorruptModelError
from app.ml.interfaces import Backbone, Encoding, Head, Rows
from app.ml.kinds.backbones import ResolvedBackbone
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.methods import ResolvedMethod
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.preprocessing import ResolvedPreprocessing
from app.ml.kinds.strategies import ResolvedStrategy
from app.ml.kinds.supervision import ResolvedSupervision
from app.ml.models.assembly import build_head, outputs_of
from app.ml.models.shared import SharedParts, key_of
from app.ml.spec import Decision, Frozen, Split, TargetSpec, WarningItem

MANIFEST = "manifest.json"
BACKBONE = "backbone.safetensors"
HEADS = "heads.safetensors"
METHOD = "method.safetensors"
GOLDEN = "golden.safetensors"
GOLDEN_ROWS = 8
CPU = torch.device("cpu")
_RTOL, _ATOL = 1e-3, 1e-4  # float32 on another processor differs by less; a changed model by far more


class HeadEntry(Frozen):
    """A head of the model, and the targets that it answers."""

    config: AnyHead
    targets: tuple[TargetSpec, ...]


class PublishedSource(Frozen):
    """Where the weights of an imported model were published, and under which licence."""

    source: str = Field(description="Their name in the catalogue.")
    title: str
    licence: str = Field(description="SPDX identifier.")
    home: str = Field(description="Where they are described.")
    sha256: str = Field(description="Of the published file.")


class Manifest(Frozen):
    """What a model is, without its weights."""

    format: Literal[2] = 2
    kind: Literal["backbone", "fine_tuned"]
    preprocessing: ResolvedPreprocessing
    modality: AnyModality
    backbone: ResolvedBackbone
    encoding: Encoding
    features: int
    heads: tuple[HeadEntry, ...] = ()
    method: ResolvedMethod | None = Field(None, description="How a backbone was pretrained.")
    labels: ResolvedSupervision | None = Field(None, description="What labels added to the pretraining.")
    watch: OnlineProbeConfig | None = Field(
        None, description="What watched the pretraining, and may have chosen its weights."
    )
    strategy: ResolvedStrategy | None = Field(None, description="How a backbone was adapted.")
    learned_splits: tuple[Split, ...] = Field(("train",), description="Splits whose rows its heads have learned from.")
    published: PublishedSource | None = Field(None, description="Of weights that were brought in by their name.")
    decisions: tuple[Decision, ...] = Field((), description="What imported weights did not say, and was decided.")
    warnings: tuple[WarningItem, ...] = Field((), description="What is doubtful of imported weights.")
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 by file name.")
    versions: dict[str, str] = Field(default_factory=dict, description="Of the libraries that made it.")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model in memory: what it is, and its modules on one device in eval mode."""

    manifest: Manifest
    backbone: Backbone
    heads: Mapping[str, Head]  # by key, in order
    method: Tensors = field(default_factory=dict)  # what the method learned besides the backbone
    device: torch.device = CPU

    @torch.inference_mode()
    def outputs(
        self, encoded: Tensor, keys: Collection[str] | None = None, features: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Encoded rows (n, *shape) to the raw output (n, ...) of every head, or of those with the keys, by key.

        `features` keeps what the backbone made of these rows, for other heads on it.
        """
        configs = {entry.config.key: entry.config for entry in self.manifest.heads}
        heads = {key: head for key, head in self.heads.items() if keys is None or key in keys}
        strategy = self.manifest.strategy
        if strategy is None:
            assert not configs
            return {}
        chosen = [configs[key] for key in heads]
        outputs = outputs_of(self.backbone, strategy, chosen, list(heads.values()), encoded, features)
        return dict(zip(heads, outputs, strict=True))


def save_bundle(folder: Path, bundle: Bundle) -> list[str]:
    """Write a model's files and return their names."""
    bundle = _on_cpu(bundle)
    tensors = {BACKBONE: bundle.backbone.state_dict(), **_answering(bundle)}
    if bundle.method:
        tensors[METHOD] = bundle.method
    return _write(folder, bundle, tensors, {})


def save_heads(folder: Path, bundle: Bundle, backbone: str) -> list[str]:
    """Write the files of a model but its backbone's, the SHA-256 of whose file is `backbone`; return their names."""
    if bundle.device != CPU:
        bundle = _on_cpu(bundle)  # else the modules are only read: the backbone may be answering requests
    return _write(folder, bundle, _answering(bundle), {BACKBONE: backbone})


def _on_cpu(bundle: Bundle) -> Bundle:
    """A copy in eval mode: the training goes on, maybe on another device."""
    bundle = replace(copy.deepcopy(bundle), device=CPU)
    for module in (bundle.backbone, *bundle.heads.values()):
        module.cpu().eval()
    return bundle


def _answering(bundle: Bundle) -> dict[str, Tensors]:
    """Return the heads, and what they make of the golden rows, by the name of the file."""
    golden = {GOLDEN: _golden(bundle, bundle.manifest.modality.specimens(GOLDEN_ROWS))}
    return {**golden, HEADS: _head_modules(bundle.heads).state_dict()} if bundle.heads else golden


def _write(folder: Path, bundle: Bundle, tensors: dict[str, Tensors], known: dict[str, str]) -> list[str]:
    """Write files of tensors, the preprocessing's and the manifest, which names the `known` files, too."""
    files = {
        name: tensor_file.write_atomically(folder / name, tensor_file.to_bytes(values))
        for name, values in tensors.items()
    }
    for name in bundle.manifest.modality.save(folder):
        files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    versions = {"torch": str(torch.__version__), "numpy": np.__version__}
    manifest = bundle.manifest.model_copy(update={"files": {**known, **files}, "versions": versions})
    tensor_file.write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2).encode())
    return [MANIFEST, *files]


def read_manifest(folder: Path) -> Manifest:
    """Raises `CorruptModelError`."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        msg = f"{MANIFEST} cannot be read: {error}"
        raise CorruptModelError(msg) from error


def read_bundle(
    folder: Path, shared: SharedParts | None = None, *, for_training: bool = False, device: str = "cpu"
) -> Bundle:
    """Load a model, check every file's hash and tensors, and replay its golden rows. Raises `CorruptModelError`.

    A backbone and a preprocessing that are among the `shared` ones are not loaded again. What the method learned
    besides the backbone is only read for training.
    """
    shared = shared or SharedParts()
    manifest = _with_assets(folder, read_manifest(folder), shared)
    if not manifest.encoding.fits(manifest.modality.encoding):
        msg = f"the backbone takes {manifest.encoding} and preprocessing gives {manifest.modality.encoding}"
        raise CorruptModelError(msg)
    try:
        bundle = _built(folder, manifest, shared, torch.device(device))
        if for_training and METHOD in manifest.files:
            bundle = replace(bundle, method=_read(folder, METHOD, manifest))
        _replay(bundle, _read(folder, GOLDEN, manifest))
    except (RuntimeError, ValueError, IndexError, TypeError, ConfigError) as error:  # torch's, numpy's, and our kinds'
        msg = f"the model cannot be built or replayed: {error}"
        raise CorruptModelError(msg) from error
    return bundle


def _with_assets(folder: Path, manifest: Manifest, shared: SharedParts) -> Manifest:
    """The manifest with its modality's own files, once their hashes are checked."""
    assets = sorted(manifest.files.keys() - {BACKBONE, HEADS, METHOD, GOLDEN})
    for name in assets:
        _verified(folder, name, manifest)
    key = key_of("modality", manifest.modality.model_dump_json(), *(manifest.files[name] for name in assets))
    modality = shared.get(key) or shared.adopt(key, manifest.modality.loaded(folder))
    return manifest.model_copy(update={"modality": modality})


def _built(folder: Path, manifest: Manifest, shared: SharedParts, device: torch.device) -> Bundle:
    backbone = _shared_backbone(folder, manifest, shared, device)
    with torch.device("meta"):
        heads = {
            entry.config.key: build_head(entry.config, manifest.strategy, backbone, entry.targets)
            for entry in manifest.heads
        }
    if heads:
        _fill(_head_modules(heads), folder, HEADS, manifest)
    shared_too = manifest.model_copy(update={"encoding": backbone.encoding})  # one of many columns is large
    return Bundle(shared_too, backbone, {key: head.to(device).eval() for key, head in heads.items()}, device=device)


def _shared_backbone(folder: Path, manifest: Manifest, shared: SharedParts, device: torch.device) -> Backbone:
    architecture = manifest.backbone.model_dump_json(), manifest.encoding.model_dump_json()
    key = key_of("backbone", manifest.files.get(BACKBONE, ""), *architecture, str(device))
    known: Backbone | None = shared.get(key)
    if known is not None:
        return known
    with torch.device("meta"):
        backbone = manifest.backbone.build(manifest.encoding)
    _fill(backbone, folder, BACKBONE, manifest)
    return shared.adopt(key, backbone.to(device).eval())


def _head_modules(heads: Mapping[str, Head]) -> nn.ModuleDict:
    return nn.ModuleDict({str(index): head for index, head in enumerate(heads.values())})


def _read(folder: Path, name: str, manifest: Manifest) -> Tensors:
    try:
        return tensor_file.read(_verified(folder, name, manifest))[0]
    except CorruptCheckpointError as error:
        msg = f"{name} cannot be read: {error}"
        raise CorruptModelError(msg) from error


def _verified(folder: Path, name: str, manifest: Manifest) -> Path:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        msg = f"{name} cannot be read: {error}"
        raise CorruptModelError(msg) from error
    if hashlib.sha256(content).hexdigest() != manifest.files.get(name):
        msg = f"{name} is damaged: its SHA-256 differs from the manifest's"
        raise CorruptModelError(msg)
    return folder / name


def _fill(module: nn.Module, folder: Path, name: str, manifest: Manifest) -> None:
    """Give a module on the meta device its weights."""
    found = _read(folder, name, manifest)
    wrong = tensor_file.differences(found, expected_tensors(module, found))
    if wrong:
        msg = f"{name} does not fit its manifest: {'; '.join(wrong)}"
        raise CorruptModelError(msg)
    module.load_state_dict(found, assign=True)


@torch.inference_mode()
def _golden(bundle: Bundle, rows: Rows) -> Tensors:
    encoded = bundle.manifest.modality.encode(rows).to(bundle.device)
    outputs = {f"head.{index}": output for index, output in enumerate(bundle.outputs(encoded).values())}
    golden = {"inputs": _packed(rows), "encoded": encoded, "features": bundle.backbone(encoded), **outputs}
    return {name: tensor.cpu() for name, tensor in golden.items()}


def _packed(rows: Rows) -> Tensor:
    """Stored rows as a tensor; texts as UTF-8 bytes, filled up with zeros."""
    if rows.dtype == object:
        rows = np.array([text.encode() for text in rows], dtype=bytes)
        rows = rows.view(np.uint8).reshape(len(rows), -1)
    return torch.from_numpy(np.ascontiguousarray(rows))


def _unpacked(rows: Tensor, modality: AnyModality) -> Rows:
    if modality.encoding.vocabulary is None:
        return rows.numpy()
    texts = np.empty(len(rows), dtype=object)
    texts[:] = [bytes(row.tolist()).rstrip(b"\0").decode() for row in rows]
    return texts


def golden_rows(folder: Path, manifest: Manifest) -> tuple[Tensors, Tensor]:
    """Return the golden tensors of a model, and the golden rows as its exports take them.

    Raises:
        CorruptModelError: the file is damaged.
    """
    golden = _read(folder, GOLDEN, manifest)
    return golden, manifest.modality.export_rows(_unpacked(golden["inputs"], manifest.modality))


def _replay(bundle: Bundle, golden: Tensors) -> None:
    if "inputs" not in golden:
        msg = f"{GOLDEN} holds no inputs"
        raise CorruptModelError(msg)
    again = _golden(bundle, _unpacked(golden["inputs"], bundle.manifest.modality))
    wrong = tensor_file.differences(golden, again)
    if not wrong:
        wrong = [name for name in sorted(again.keys() - {"inputs"}) if not are_close(golden[name], again[name])]
    if wrong:
        msg = f"the model does not answer as when it was saved: {', '.join(wrong)}"
        raise CorruptModelError(msg)


def are_close(saved: Tensor, now: Tensor) -> bool:
    """Whether both are finite and nearly equal: a model that answers inf or NaN is of no use."""
    if not (saved.isfinite().all() and now.isfinite().all()):
        return False
    scale = saved.abs().amax().item() if saved.numel() else 0.0
    if not saved.is_floating_point():
        return torch.equal(now, saved)
    return torch.allclose(now, saved, rtol=_RTOL, atol=_ATOL * max(scale, 1.0))


def json_of(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain JSON values."""
    return manifest.model_dump(mode="json")
