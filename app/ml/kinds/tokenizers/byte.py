"""Bytes of UTF-8 as tokens: nothing is unknown, and nothing is learned."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from app.ml.interfaces.tokenizer import FIRST, Tokenizer

CONTINUATION = range(0x80, 0xC0)  # bytes that go on with a character begun before


class ByteTokenizer(Tokenizer):
    """Code 5 + b is byte b."""

    kind: Literal["byte"] = "byte"

    @property
    def size(self) -> int:
        """256 bytes and the common codes."""
        return FIRST + 256

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The bytes of every text."""
        return [(np.frombuffer(text.encode(), np.uint8).astype(np.int64) + FIRST).tolist() for text in texts]

    def decode(self, codes: Sequence[int]) -> str:
        """What is no UTF-8 becomes U+FFFD."""
        return bytes(code - FIRST for code in codes if code >= FIRST).decode(errors="replace")

    def characters(self) -> list[int]:
        """1 for a byte that begins a character."""
        return [0, 1, 0, 0, 0, *(int(byte not in CONTINUATION) for byte in range(256))]

    def pieces(self) -> list[str]:
        """Printable ASCII."""
        return [chr(byte) for byte in range(32, 127)]
