"""Texts as codes of tokens.

Stored as an object array (N,) of str. Encoded as int64 (N, T): begin, the text's tokens, end, and 0 up to T; of a text
with more tokens the first ones, without end. Rows that are pieces of one long text have neither begin nor end.
JSON inputs are strings, or objects that hold one under the name of the training file's column, or "text". The
vocabulary is too large for a manifest: it is a file of its own, tokenizer.json.
"""

import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pydantic
import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from app.ml.data.chunks import each_block
from app.ml.data.tensor_file import write_atomically
from app.ml.errors import CorruptModelError, InputError, Location
from app.ml.fields import Integer
from app.ml.interfaces import Encoding, Modality, Rows, Shape, StoredRows
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.modality import UnknownValues
from app.ml.interfaces.signature import Signature
from app.ml.interfaces.tokenizer import BEGIN, END, MAX_TOKENS, PADDING, UNKNOWN
from app.ml.kinds.modalities.decoding import (
    MAX_ERRORS,
    DecodingError,
    decode_each,
    only_value,
    plain,
    with_clean_keys,
)
from app.ml.kinds.preprocessing.text import ResolvedTextPreprocessing
from app.ml.kinds.tokenizers import AnyTokenizer
from app.ml.kinds.tokenizers.bpe import BpeTokenizer
from app.ml.kinds.tokenizers.byte import ByteTokenizer
from app.ml.kinds.tokenizers.character import CharacterTokenizer
from app.ml.spec import DataSpec, Frozen, WarningCode, WarningItem

TOKENIZER = "tokenizer.json"
MAX_BYTES = 1 << 20  # of one text to answer
MAX_CUT_SHARE = 0.01  # of the train rows, up to which it is not worth a warning
EXAMPLE = "the text to answer"
_MAX_FILE_BYTES = 32 << 20
_SPECIMEN_TOKENS = 64
_ENCODED_AT_ONCE = 1024
_ASKED_AT_ONCE = 64  # texts of a request may be long
_ALWAYS_READ = 1 << 14  # characters of a text, whatever the context
_COUNTED_TEXTS, _MAX_EXAMPLES = 2000, 3
_USUAL = ResolvedTextPreprocessing(tokenizer="character", vocabulary=4096, max_tokens=512, limits="marked")
_TOKENIZERS: TypeAdapter[AnyTokenizer] = TypeAdapter(AnyTokenizer)


class CutTexts(Frozen):
    """How much of the train rows lies behind the end of the context."""

    rows: Integer = Field(description="Texts that are cut off.")
    of_rows: Integer
    tokens: Integer = Field(description="Tokens that are not read.")
    of_tokens: Integer

    @classmethod
    def of(cls, lengths: Sequence[int], context: int) -> Self:
        """Count for texts of so many tokens each, begin included."""
        cut = [length - context for length in lengths if length > context]
        return cls(rows=len(cut), of_rows=len(lengths), tokens=sum(cut), of_tokens=sum(lengths))


class TextModality(Modality):
    """Texts of at most `tokens` tokens."""

    kind: Literal["text"] = "text"
    bounded: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    counts_tokens: ClassVar[bool] = True
    tokens: Integer = Field(ge=1, le=8192, description="T, the most codes of a row, its limits included.")
    vocabulary: Integer = Field(ge=1, le=MAX_TOKENS, description="Codes of the tokenizer.")
    marked: bool = Field(default=True, description="Whether codes mark where a text begins and ends.")
    lowercase: bool = Field(default=False, description="Whether everything is written in small letters.")
    form: Literal["none", "nfc", "nfkc"] = Field("none", description="Unicode normal form.")
    column: str | None = Field(None, description="The training file's column of texts; null where it had none.")
    cut: CutTexts | None = Field(None, description="What was cut off the train rows; null: not known.")
    tokenizer: AnyTokenizer | None = Field(
        None, exclude=True, repr=False, description="What tokenizer.json holds; None until it is read."
    )

    @classmethod
    def fit(cls, inputs: StoredRows, spec: DataSpec, chosen: ResolvedTextPreprocessing = _USUAL) -> Self:
        """Learn the vocabulary from the train rows (N,), and how many tokens the longest of them has."""
        texts = [_written(text, chosen) for text in inputs[:]]
        tokenizer = _fitted(texts, chosen)
        marked = chosen.limits == "marked"
        encoded = (tokenizer.encode(texts[block]) for block in each_block(len(texts), _ENCODED_AT_ONCE))
        lengths = [len(codes) + marked for block_codes in encoded for codes in block_codes]
        tokens = max(1, min(chosen.max_tokens, max(lengths, default=1 + marked) + marked))
        return cls(
            tokens=tokens,
            cut=CutTexts.of(lengths, tokens),
            vocabulary=tokenizer.size,
            marked=marked,
            lowercase=chosen.lowercase,
            form=chosen.form,
            column=spec.input_names[0] if spec.input_names else None,
            left_out=spec.left_out,
            tokenizer=tokenizer,
        )

    @property
    def shape(self) -> Shape:
        """(T,)."""
        return (self.tokens,)

    @property
    def encoding(self) -> Encoding:
        """(T,) codes below the vocabulary's size."""
        return Encoding(shape=self.shape, vocabulary=self.vocabulary)

    @property
    def codec(self) -> AnyTokenizer:
        """The tokenizer, which `fit` or `loaded` gave."""
        assert self.tokenizer is not None
        return self.tokenizer

    export_input: ClassVar[str] = "codes"

    def encode(self, inputs: Rows) -> Tensor:
        """Texts (N,) to int64 (N, T)."""
        result = np.full((len(inputs), self.tokens), PADDING, dtype=np.int64)
        blocks = each_block(len(inputs), _ASKED_AT_ONCE)
        each = (codes for block in blocks for codes in self.codes(list(inputs[block])))
        for row, codes in enumerate(each):
            kept = [BEGIN, *codes, END][: self.tokens] if self.marked else codes[: self.tokens]
            result[row, : len(kept)] = kept
        return torch.from_numpy(result)

    def codes(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of every text, uncut, without begin and end."""
        return self.codec.encode([_written(text, self) for text in texts])

    def adapted_to(self, inputs: StoredRows, spec: DataSpec) -> Self:
        """The same, with the names of the other dataset's columns, and what of its texts is cut off."""
        column = spec.input_names[0] if spec.input_names else None
        encoded = (self.codes(list(inputs[block])) for block in each_block(len(inputs), _ENCODED_AT_ONCE))
        lengths = [len(codes) + self.marked for block_codes in encoded for codes in block_codes]
        cut = CutTexts.of(lengths, self.tokens)
        return self.model_copy(update={"left_out": spec.left_out, "column": column, "cut": cut})

    @property
    def warnings(self) -> tuple[WarningItem, ...]:
        """Texts that are cut off, where more than one in a hundred is."""
        cut = self.cut
        if cut is None or cut.rows <= MAX_CUT_SHARE * cut.of_rows:
            return ()
        message = (
            f"{cut.rows} of {cut.of_rows} texts ({cut.rows / cut.of_rows:.0%}) are longer than the context of "
            f"{self.tokens} tokens; {cut.tokens / cut.of_tokens:.0%} of all tokens are not read."
        )
        remedy = 'preprocessing={"kind": "text", "max_tokens": ...} reads more; "tokenizer": "bpe" makes fewer tokens'
        return (WarningItem(code=WarningCode.TEXTS_CUT, message=message, count=cut.rows, remedy=remedy),)

    def prompts(self, inputs: Sequence[Any], doubts: Doubts | None = None) -> list[list[int]]:
        """Encode JSON texts as prompts, uncut. Raises `InputError`."""
        doubts = doubts or Doubts()
        texts = decode_each(inputs, partial(self._text_of, doubts=doubts), doubts)
        prompts = self.codes([text[-self._most_characters(text) :] for text in texts])
        for doubts.row, codes in enumerate(prompts):
            if len(codes) + self.marked > self.tokens:
                doubts.add(WarningCode.TEXT_TRUNCATED, reason=f"the last {self.tokens} tokens alone")
            if 2 * codes.count(UNKNOWN) > len(codes):
                doubts.add(WarningCode.UNKNOWN_TOKENS)
        if self.marked:
            return [[BEGIN, *codes] for codes in prompts]
        why = "the text is empty; this model goes on from something"
        empty: list[tuple[Location, str]] = [((row,), why) for row, codes in enumerate(prompts) if not codes]
        if empty:
            raise InputError(empty[:MAX_ERRORS])
        return prompts

    def characters(self) -> list[int]:
        """How many characters each code stands for, (V,)."""
        return self.codec.characters()

    def decode(self, inputs: Sequence[Any] | Rows, doubts: Doubts | None = None) -> Rows:
        """JSON to texts (N,). Raises `InputError`."""
        doubts = doubts or Doubts()
        texts = decode_each(inputs, partial(self._decode_one, doubts=doubts), doubts)
        self._doubt(texts, doubts)
        return _as_objects(texts)

    @property
    def keys(self) -> tuple[str, ...]:
        """The training file's column of texts, or "text"."""
        return ("text",) if self.column is None else (self.column,)

    def _doubt(self, texts: list[str], doubts: Doubts) -> None:
        """Doubt texts that are cut off, or that are mostly unknown."""
        for doubts.row, text in enumerate(texts):
            # No tokenizer makes more tokens than bytes: short texts need not be encoded here if all of it is known.
            if len(text.encode()) + self.marked <= self.tokens and self.codec.knows_all:
                continue
            (codes,) = self.codes([text])
            if len(codes) + self.marked > self.tokens:
                doubts.add(WarningCode.TEXT_TRUNCATED, reason=f"the first {self.tokens} tokens alone")
            if 2 * codes.count(UNKNOWN) > len(codes):
                doubts.add(WarningCode.UNKNOWN_TOKENS)

    def _text_of(self, value: Any, doubts: Doubts) -> str:
        value = plain(value)
        if isinstance(value, dict):
            if value.get("truncated") is True:  # a row as a dataset shows it
                doubts.add(WarningCode.TEXT_TRUNCATED, reason="a row of a dataset that was cut off to be shown")
            value = {key: item for key, item in value.items() if key != "truncated" or item is not False}
            names = ("text",) if self.column is None else (self.column, "text")
            value = with_clean_keys(value, names)
            value = only_value(value, names, (*self.left_out, "truncated"), "text", doubts)
        return text_of(value)

    def _decode_one(self, value: Any, doubts: Doubts) -> str:
        text = self._text_of(value, doubts)
        if not text:
            msg = "the text is empty"
            raise DecodingError(msg)
        most = self._most_characters(text)
        if len(text) > most:
            doubts.add(WarningCode.TEXT_TRUNCATED, reason=f"the first {self.tokens} tokens alone")
        return text[:most]

    def _most_characters(self, text: str) -> int:
        """Return how many characters of a text may matter, by the context: the tokens of more take memory for nothing.

        Eight times as many as the longest tokens have, since tokens of what is unknown may be longer.
        """
        if len(text) <= _ALWAYS_READ:
            return _ALWAYS_READ
        return max(_ALWAYS_READ, 8 * self.tokens * max(self.characters(), default=1))

    def signature(self) -> Signature:
        """The context; the example is a text that fits into it."""
        return Signature(
            modality="text",
            context=self.tokens,
            text_column=self.column,
            ignored=self.left_out,
            example={"inputs": [EXAMPLE[: max(1, self.tokens - 1)]]},
        )

    def spec(self) -> DataSpec:
        """Texts of any length."""
        return DataSpec(modality="text", shape=(1,), rows={})

    def differences(self, spec: DataSpec) -> list[str]:
        """Name another modality; texts of any length fit, since what is too long is cut off."""
        if spec.modality != "text":
            return [f"the model takes texts and the dataset is of modality {spec.modality}"]
        return []

    def unknown_values(self, inputs: StoredRows, spec: DataSpec) -> list[UnknownValues]:
        """Count the unknown tokens of at most 2,000 texts, evenly spread; known blanks and signs do not count."""
        texts = [str(text) for text in inputs[:: max(1, len(inputs) // _COUNTED_TEXTS)]]
        counts = np.zeros(self.vocabulary, dtype=np.int64)
        examples: dict[str, None] = {}
        for block in each_block(len(texts), _ENCODED_AT_ONCE):
            for text, codes in zip(texts[block], self.codes(texts[block]), strict=True):
                counts += np.bincount(np.array(codes, dtype=np.int64), minlength=self.vocabulary)
                if UNKNOWN in codes and len(examples) < _MAX_EXAMPLES:
                    examples[text] = None
        words = [any(map(str.isalnum, self.codec.decode([code]))) for code in range(self.vocabulary)]
        unknown, known = int(counts[UNKNOWN]), int(counts[np.array(words)].sum())
        return [UnknownValues(None, unknown, unknown + known, tuple(examples))]

    def specimens(self, count: int) -> Rows:
        """Random tokens in a row, (count,), of several lengths."""
        random = np.random.default_rng(0)
        pieces = self.codec.pieces()
        lengths = [max(1, min(self.tokens, _SPECIMEN_TOKENS) - 7 * index) for index in range(count)]
        return _as_objects(["".join(random.choice(pieces, size=length)) for length in lengths])

    def save(self, folder: Path) -> list[str]:
        """Write tokenizer.json."""
        write_atomically(folder / TOKENIZER, self.codec.model_dump_json().encode())
        return [TOKENIZER]

    def loaded(self, folder: Path) -> Self:
        """With the tokenizer of tokenizer.json. Raises `CorruptModelError`."""
        try:
            path = folder / TOKENIZER
            if path.stat().st_size > _MAX_FILE_BYTES:
                msg = f"{TOKENIZER} is larger than {_MAX_FILE_BYTES} bytes"
                raise CorruptModelError(msg)
            tokenizer = _TOKENIZERS.validate_json(path.read_bytes())
        except (OSError, pydantic.ValidationError) as error:
            msg = f"{TOKENIZER} cannot be read: {error}"
            raise CorruptModelError(msg) from error
        if tokenizer.size != self.vocabulary:
            msg = f"{TOKENIZER} has {tokenizer.size} codes and the model knows {self.vocabulary}"
            raise CorruptModelError(msg)
        return self.model_copy(update={"tokenizer": tokenizer})


def text_of(value: Any) -> str:
    """A JSON value that has to be a text; it may be empty. Raises `DecodingError`."""
    if not isinstance(value, str):
        msg = "a text is a string"
        raise DecodingError(msg)
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        msg = f"half of a surrogate pair at character {error.start}: send whole characters"
        raise DecodingError(msg) from None
    if size > MAX_BYTES:
        msg = f"the text has {size} bytes; at most {MAX_BYTES}"
        raise DecodingError(msg)
    return value


def _written(text: str, how: ResolvedTextPreprocessing | TextModality) -> str:
    if how.form != "none":
        text = unicodedata.normalize("NFC" if how.form == "nfc" else "NFKC", text)
    return text.lower() if how.lowercase else text


def _fitted(texts: list[str], chosen: ResolvedTextPreprocessing) -> AnyTokenizer:
    match chosen.tokenizer:
        case "character":
            return CharacterTokenizer.fit(texts, chosen.vocabulary)
        case "bpe":
            return BpeTokenizer.fit(texts, chosen.vocabulary)
        case _:
            return ByteTokenizer()


def _as_objects(texts: Sequence[str]) -> Rows:
    """An object array (n,) of str, which keeps what a fixed width would cut."""
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
