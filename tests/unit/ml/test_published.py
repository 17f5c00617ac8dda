"""The published checkpoint, read by byte offsets: the right numbers, of this one file only."""

import hashlib
import json
from pathlib import Path

import pytest

from app.ml.errors import WeightsError
from app.ml.models.imports import ImportRequest, import_model, published
from tests.support.weights import CHECKPOINT, member

# Of all tensors in the order of their names: name, shape and numbers, as the pickle in the file describes them.
FINGERPRINT = "5b0b2c2a4915b814479bfa16657809423c4111e69bde5f098cfac15aa871f425"


@pytest.fixture(scope="module")
def content() -> bytes:
    return member("efficientnet_lite0", CHECKPOINT)


def test_the_offsets_give_the_tensors_that_the_pickle_describes(content: bytes) -> None:
    assert hashlib.sha256(content).hexdigest() == published.SHA256
    tensors, fingerprint = published.read_published(content), hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        assert tensor.is_contiguous()
        fingerprint.update(name.encode() + str(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
    assert fingerprint.hexdigest() == FINGERPRINT
    assert sum(tensor.numel() for tensor in tensors.values()) == 4_694_024


def test_every_offset_follows_the_count_of_its_numbers(content: bytes) -> None:
    table = json.loads(published._OFFSETS.read_text(encoding="utf-8"))
    offsets = [offset for *_, offsets in (*table["layers"], table["classes"]) for offset in offsets]
    assert len(set(offsets)) == len(offsets) == 247
    counts = [int.from_bytes(content[offset - 8 : offset], "little") for offset in offsets]
    assert sum(counts) == 4_694_024


@pytest.mark.parametrize("place", [0, 50_000, -1], ids=["in the head", "in a tensor", "at the end"])
def test_any_other_file_is_refused_with_what_to_do(tmp_path: Path, content: bytes, place: int) -> None:
    changed = bytearray(content)
    changed[place] ^= 1
    path = tmp_path / "other.pth"
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match="save the weights as one") as refused:
        import_model(ImportRequest("efficientnet_lite0", path))
    assert refused.value.code == "unsupported_format"
