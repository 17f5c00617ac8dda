"""Words of a text as codes, for columns of texts in tables; no torch, and nothing to fit.

A code is the hash of a word, of at most 16,384 (Weinberger et al., "Feature hashing for large scale multitask
learning", 2009): the same in every dataset, so that rows of one are read by the model of another. Scripts that put no
blanks between words give pairs of characters.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MAX_WORDS = 128  # different ones of a text; the cells that a text takes in a row as stored
CODES = 1 << 14
MAX_DIMENSIONS = 64  # that the words of a column become
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
Cells = NDArray[np.float64]


def codes_of(text: str) -> list[int]:
    """Return the codes of a text's different words, in their order."""
    return list(dict.fromkeys(map(_code, _words(text))))


def cells_of(texts: Iterable[str]) -> Cells:
    """Return the codes of the first words of N texts, (N, 128), NaN where a text has no more."""
    rows = [codes_of(text)[:MAX_WORDS] for text in texts]
    cells = np.full((len(rows), MAX_WORDS), np.nan)
    for row, codes in enumerate(rows):
        cells[row, : len(codes)] = codes
    return cells


def digest(text: str) -> float:
    """Return a number that tells texts apart: 48 bits of a hash, which a float64 holds."""
    return float(int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big"))


def _words(text: str) -> Iterator[str]:
    for word in _WORD.findall(text.casefold()):
        if _UNSPACED.search(word) and len(word) > 2:  # noqa: PLR2004 - a pair is its own
            yield from (word[place : place + 2] for place in range(len(word) - 1))
        else:
            yield word


@lru_cache(maxsize=1 << 16)
def _code(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % CODES
