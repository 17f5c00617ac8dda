"""The old checkpoint format, read as data: nothing is run, and whatever is wrong has one kind of error."""

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ml.errors import WeightsError
from app.ml.imports import KNOWN_CHECKPOINTS
from app.ml.imports.legacy import MAGIC, read_legacy
from tests.support.weights import CHECKPOINT, member


def whole(number: int) -> bytes:
    return b"\x80\x02M" + number.to_bytes(2, "little") + b"."


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def tensor(name: str, storage: str, shape: tuple[int, ...], count: int, offset: int = 0) -> bytes:
    """Instructions that push a name and a tensor of floats."""
    sizes = b"(" + b"".join(b"M" + size.to_bytes(2, "little") for size in shape) + b"t"
    strides, reach = b"", 1
    for size in reversed(shape):
        strides = b"M" + reach.to_bytes(2, "little") + strides
        reach *= size
    stored = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(storage) + text("cpu")
    stored += b"M" + count.to_bytes(2, "little") + b"NtQ"
    rest = b"M" + offset.to_bytes(2, "little") + sizes + b"(" + strides + b"t" + b"\x89ccollections\nOrderedDict\n)R"
    return text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + rest + b"tR"


def checkpoint(items: bytes, names: list[str], storages: bytes) -> bytes:
    magic = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
    listed = b"\x80\x02](" + b"".join(map(text, names)) + b"e."
    values = b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."
    return magic + whole(1001) + b"\x80\x02}." + values + listed + storages


def numbers(*values: float) -> bytes:
    return len(values).to_bytes(8, "little") + torch.tensor(values, dtype=torch.float32).numpy().tobytes()


SMALL = checkpoint(
    tensor("first", "1", (2, 2), 5, 1) + tensor("second", "2", (), 1), ["2", "1"], numbers(7) + numbers(0, 1, 2, 3, 4)
)


def test_tensors_are_views_of_their_storages() -> None:
    found = read_legacy(SMALL)
    assert found["first"].tolist() == [[1, 2], [3, 4]]
    assert found["second"].item() == 7


def test_the_published_checkpoint_is_what_its_name_says() -> None:
    content = member("efficientnet_lite0", CHECKPOINT)
    digest = hashlib.sha256(content).hexdigest()
    assert {digest} == KNOWN_CHECKPOINTS
    assert digest.startswith(CHECKPOINT.removesuffix(".pth").rpartition("-")[2])
    found = read_legacy(content)
    assert len(found) == 296
    assert sum(value.numel() for value in found.values() if value.is_floating_point()) == 4_694_024
    stem = found["_conv_stem.weight"]  # stored with its axes in another order
    assert (stem.shape, stem.is_contiguous()) == ((32, 3, 3, 3), True)
    assert all(value.isfinite().all() for value in found.values())


def test_a_program_is_refused_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "was_here"
    run = b"cposix\nsystem\n(" + text(f"touch {trace}") + b"tR"
    for content in (
        b"\x80\x02" + run + b".",
        checkpoint(text("x") + run, [], b""),
        checkpoint(text("x") + b"cbuiltins\neval\n(" + text(f"open({str(trace)!r}, 'w')") + b"tR", [], b""),
        checkpoint(text("x") + b"\x8c\x05posix\x8c\x06system\x93", [], b""),
        checkpoint(text("x") + b"(iposix\nsystem\n", [], b""),
        checkpoint(text("x") + b"ctorch\nFloatStorage\n)R", [], b""),
    ):
        with pytest.raises(WeightsError) as refused:
            read_legacy(content)
        assert refused.value.code == "damaged_weights"
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02.",
        b"no pickle at all",
        SMALL + b"\0",
        SMALL[:-1],
        checkpoint(tensor("x", "1", (3, 2), 5), ["1"], numbers(0, 1, 2, 3, 4)),
        checkpoint(tensor("x", "1", (2, 2), 4, 1), ["1"], numbers(0, 1, 2, 3)),
        checkpoint(tensor("x", "1", (2,), 2), ["1", "1"], numbers(0, 1)),
        checkpoint(tensor("x", "1", (2,), 2), ["2"], numbers(0, 1)),
        checkpoint(tensor("x", "1", (2,), 3), ["1"], numbers(0, 1)),
        checkpoint(tensor("x", "1", (1,), 1) + tensor("y", "1", (2,), 2), ["1"], numbers(0)),
        checkpoint(tensor("x", "1", (2,), 2).replace(b"cpu", b"gpu"), ["1"], numbers(0, 1)),
        checkpoint(text("x") + b"M\x01\x00", [], b""),
        checkpoint(b"M\x01\x00" * 2, [], b""),
        SMALL.replace(b"(M\x02\x00M\x01\x00t\x89", b"(M\x00\x00M\x00\x00t\x89"),  # strides of 0: one number, seen often
        SMALL.replace(b"(M\x02\x00M\x01\x00t\x89", b"(M\x02\x00t\x89"),
        b"\x80\x02" + b"N0" * 300_000 + b".",
    ],
)
def test_what_is_wrong_is_refused(content: bytes) -> None:
    with pytest.raises(WeightsError) as refused:
        read_legacy(content)
    assert refused.value.code == "damaged_weights"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_give_tensors_or_the_one_error(changes: list[tuple[int, int]]) -> None:
    content = bytearray(SMALL)
    for place, value in changes:
        content[place] = value
    found = tensors_or_none(bytes(content)) or {}
    assert all(isinstance(value, torch.Tensor) and value.numel() <= 5 for value in found.values())


@settings(max_examples=200, deadline=None)
@given(tail=st.binary(max_size=200))
def test_any_bytes_are_refused(tail: bytes) -> None:
    assert tensors_or_none(tail) is None
    assert tensors_or_none(SMALL[:24] + tail) is None


def tensors_or_none(content: bytes) -> dict[str, torch.Tensor] | None:
    """None where the one error is raised; any other fails the test."""
    try:
        return read_legacy(content)
    except WeightsError:
        return None
