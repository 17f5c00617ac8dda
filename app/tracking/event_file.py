"""TensorBoard's event files, written without TensorBoard.

A file is records (TFRecord): length (uint64), masked CRC-32C of it, bytes, masked CRC-32C of them, little-endian. The
bytes are an `Event` as a protocol buffer (tensorflow/core/util/event.proto, framework/summary.proto), parameters are
those of the plugin hparams (tensorboard/plugins/hparams/plugin_data.proto). The few fields that are needed are encoded
here: a key (field number, wire type), then a varint, eight or four bytes, or a length and bytes.
"""

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_DT_STRING = 7
_SUCCESS, _FAILURE, _RUNNING = 1, 2, 3  # hparams' Status
_STATUS = {"succeeded": _SUCCESS, "failed": _FAILURE, "cancelled": _FAILURE}
_NUMBER = re.compile(r"-?\d{1,20}(\.\d+)?([eE][+-]?\d{1,3})?")
_MAX_EXACT = 2**53
_CASTAGNOLI = 0x82F63B78
_MASK = 0xA282EAD8


def header(time: float) -> bytes:
    """Return the record that every file begins with."""
    return _record(_event(time, 0, _field(3, b"brain.Event:2")))


def scalars(time: float, step: int, values: Mapping[str, float | None]) -> bytes:
    """Return the record of what was measured at a step; None, which was not finite, is NaN."""
    return _summary(time, step, [_value(tag, _scalar(value)) for tag, value in values.items()])


def parameters(
    time: float, texts: Mapping[str, str], tags: Mapping[str, str], status: str, ended_at: float | None
) -> bytes:
    """Return the records of a run's parameters: for the view of hparams, and with the tags as a text to read."""
    pairs = (_text(1, key) + _field(2, _hparam(text)) for key, text in texts.items())
    start = b"".join(_field(1, pair) for pair in pairs) + _real(5, time)
    end = _integer(1, _STATUS.get(status, _RUNNING)) + (b"" if ended_at is None else _real(2, ended_at))
    sessions = [
        _value("_hparams_/session_start_info", _metadata("hparams", _field(3, start))),
        _value("_hparams_/session_end_info", _metadata("hparams", _field(4, end))),
    ]
    shown = json.dumps({"tags": dict(tags), "parameters": dict(texts)}, indent=4, ensure_ascii=False)
    code = "".join(f"    {line}\n" for line in shown.splitlines())  # Markdown shows it as it is
    tensor = _integer(1, _DT_STRING) + _field(2, _field(2, _integer(1, 1))) + _text(8, code)
    text = _value("parameters", _metadata("text", b"") + _field(8, tensor))
    return _summary(time, 0, [*sessions, text])


def _summary(time: float, step: int, values: Iterable[bytes]) -> bytes:
    return _record(_event(time, step, _field(5, b"".join(_field(1, value) for value in values))))


def _event(time: float, step: int, what: bytes) -> bytes:
    return _real(1, time) + _integer(2, step) + what


def _value(tag: str, content: bytes) -> bytes:
    return _text(1, tag) + content


def _scalar(value: float | None) -> bytes:
    number = math.nan if value is None else value
    try:
        return _key(2, _FLOAT) + struct.pack("<f", number)
    except OverflowError:  # too large for a float32
        return _key(2, _FLOAT) + struct.pack("<f", math.copysign(math.inf, number))


def _hparam(text: str) -> bytes:
    """Return a parameter as google.protobuf.Value: numbers as numbers, so that they are sorted and filtered."""
    if text in ("true", "false"):
        return _integer(4, int(text == "true"))
    if _NUMBER.fullmatch(text) and abs(number := float(text)) <= _MAX_EXACT:  # a longer seed would be another one
        return _real(2, number)
    return _text(3, text)


def _metadata(plugin: str, content: bytes) -> bytes:
    """Return SummaryMetadata as a field of a value."""
    data = _text(1, plugin) + (_field(2, content) if content else b"")
    return _field(9, _field(1, data))


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte; the eighth says that more follow
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _integer(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value)


def _real(number: int, value: float) -> bytes:
    return _key(number, _DOUBLE) + struct.pack("<d", value)


def _field(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode("utf-8", "replace"))


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _masked_checksum(length) + content + _masked_checksum(content)


def _table() -> tuple[int, ...]:
    def entry(byte: int) -> int:
        for _ in range(8):
            byte = byte >> 1 ^ (_CASTAGNOLI if byte & 1 else 0)
        return byte

    return tuple(map(entry, range(256)))


_TABLE = _table()


def _masked_checksum(content: bytes) -> bytes:
    """Return the CRC-32C of bytes, rotated by 15 bits and shifted by a constant as TFRecord has it."""
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum = checksum >> 8 ^ _TABLE[(checksum ^ byte) & 0xFF]
    checksum ^= 0xFFFFFFFF
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + _MASK) & 0xFFFFFFFF)
