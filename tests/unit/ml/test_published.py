"""The published checkpoint, read by byte offsets: the right numbers, of this one file only."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from app.ml.errors import WeightsError
from app.ml.interfaces import Encoding
from app.ml.models.imports import ImportRequest, efficientnet_lite0, import_model, published
from tests.support.weights import CHECKPOINT, member

# Of all tensors in the order of their names: name, shape and numbers, as the pickle in the file describes them.
FINGERPRINT = "5b0b2c2a4915b814479bfa16657809423c4111e69bde5f098cfac15aa871f425"


def table_of(architecture: str) -> dict[str, Any]:
    content = (Path(published.__file__).parent / f"{architecture}.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(content)
    return table


@pytest.fixture(scope="module")
def content() -> bytes:
    return member("efficientnet_lite0", CHECKPOINT)


def test_the_offsets_give_the_tensors_that_the_pickle_describes(content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    tensors, fingerprint = published.read_published(content, sha256), hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        assert tensor.is_contiguous()
        fingerprint.update(name.encode() + str(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
    assert fingerprint.hexdigest() == FINGERPRINT
    assert sum(tensor.numel() for tensor in tensors.values()) == 4_694_024


def test_every_offset_follows_the_count_of_its_numbers(content: bytes) -> None:
    table = table_of("efficientnet_lite0")
    offsets = [offset for *_, offsets in (*table["layers"], table["classes"]) for offset in offsets]
    assert len(set(offsets)) == len(offsets) == 247
    counts = [int.from_bytes(content[offset - 8 : offset], "little") for offset in offsets]
    assert sum(counts) == 4_694_024


@pytest.mark.parametrize("architecture", efficientnet_lite0.CONFIGS)
def test_a_table_has_the_layers_of_its_architecture(architecture: str) -> None:
    """Of every convolution and its norm the names and the shapes, so that each tensor has its place in our network."""
    config = efficientnet_lite0.CONFIGS[architecture]
    with torch.device("meta"):
        own = config.build(Encoding(shape=(3, 64, 64))).state_dict()
    names = dict(efficientnet_lite0._names(config))
    expected = {source: tuple(own[target].shape) for target, source in names.items()}
    figures = ("weight", "bias", "running_mean", "running_var")
    listed: dict[str, tuple[int, ...]] = {}
    for convolution, norm, shape, offsets in table_of(architecture)["layers"]:
        assert len(offsets) == 1 + len(figures)
        listed |= {f"{convolution}.weight": tuple(shape), **{f"{norm}.{figure}": (shape[0],) for figure in figures}}
    assert listed == expected


@pytest.mark.parametrize("place", [0, 50_000, -1], ids=["in the head", "in a tensor", "at the end"])
def test_any_other_file_is_refused_with_what_to_do(tmp_path: Path, content: bytes, place: int) -> None:
    changed = bytearray(content)
    changed[place] ^= 1
    path = tmp_path / "other.pth"
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match="save the weights as one") as refused:
        import_model(ImportRequest("efficientnet_lite0", path))
    assert refused.value.code == "unsupported_format"
