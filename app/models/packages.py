"""Reads an upload of weights: a safetensors file itself, or the known members of a package (zip, wheel, our export)."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter

from app.errors import ErrorItem, TooLargeError, UnprocessableError, UnsupportedMediaError
from app.kit import strict_json

MAX_VOCAB_BYTES = 2 << 20
_MAX_CONFIG_BYTES = 64 << 10
_MAX_UNPACKED_BYTES = 4 << 30
_MAX_MEMBERS = 10_000
MANIFEST = "manifest.json"
MODEL_FILES = (
    MANIFEST,
    "backbone.safetensors",
    "heads.safetensors",
    "method.safetensors",
    "golden.safetensors",
    "tokenizer.json",
    "words.npz",
)
_ZIP = b"PK\x03\x04"
# Endings of the file names of weights, in order of preference.
_WEIGHTS = (
    "model.safetensors",
    ".safetensors",
    "efficientnet-lite0-57934424.pth",
    "efficientnet-lite1-77cc7160.pth",
    "efficientnet-lite2-9656183e.pth",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """The file of weights, and the vocabulary and configs that a package holds in the same folder."""

    weights: Path
    vocab: str | None = None
    config: dict[str, Any] | None = None
    preprocessor: dict[str, Any] | None = None


def json_field(name: str, text: str) -> Any:
    """Parse a form field that is JSON.

    Raises:
        UnprocessableError: the text is not JSON.
    """
    try:
        return strict_json.loads(text.encode())
    except strict_json.StrictJsonError as error:
        msg = f"{name}: {error}"
        raise UnprocessableError(msg, errors=[ErrorItem(loc=["body", name], msg=str(error))]) from None


def parts_of(path: Path, target: Path) -> Parts:
    """Return the parts of an upload; the weights of a package are written to `target`.

    Raises:
        UnsupportedMediaError: the package holds no weights.
        UnprocessableError: the package is damaged.
        TooLargeError: the package is too large once unpacked.
    """
    with path.open("rb") as file:
        if file.read(4) != _ZIP:
            return Parts(path)
    with _members_of(path) as (archive, members):
        return _parts_of_package(archive, members, target)


def unpack_model(path: Path, folder: Path) -> None:
    """Write the files of an exported model, which a package holds at its top, into a folder.

    Raises:
        UnsupportedMediaError: it is no package, or holds no manifest.json.
        UnprocessableError: the package is damaged.
        TooLargeError: the package is too large once unpacked.
    """
    with _members_of(path) as (archive, members):
        known = {member.filename: member for member in members if member.filename in MODEL_FILES}
        if MANIFEST not in known:
            msg = f"an exported model is a zip that holds {MANIFEST}, as an export in the format safetensors writes it"
            raise UnsupportedMediaError(msg, code="unsupported_format", errors=[_item(msg)])
        for name, member in known.items():
            _write(archive, member, folder / name)


@contextmanager
def _members_of(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open a package; errors of the archive become those of the upload."""
    from app.datasets.errors import Code, DatasetError  # noqa: PLC0415 - datasets' reader of archives brings pyarrow
    from app.datasets.limits import Limits  # noqa: PLC0415 - the same
    from app.datasets.readers.archive import open_archive  # noqa: PLC0415 - the same

    limits = Limits(members=_MAX_MEMBERS, unpacked_bytes=_MAX_UNPACKED_BYTES)
    try:
        with open_archive(path, limits) as opened:
            yield opened
    except DatasetError as error:
        kind = TooLargeError if error.code == Code.TOO_LARGE else UnprocessableError
        items = [ErrorItem(loc=["body", *fault.loc], msg=fault.msg) for fault in error.errors]
        raise kind(error.message, code=error.code, errors=items) from None


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    from app.datasets.readers.archive import read_chunks  # noqa: PLC0415 - as above

    with target.open("wb") as file:
        for chunk in read_chunks(archive, member, _MAX_UNPACKED_BYTES):
            file.write(chunk)


def _parts_of_package(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], target: Path) -> Parts:
    from app.datasets.readers.archive import read_member  # noqa: PLC0415 - as above

    weights = [member for ending in _WEIGHTS for member in members if member.filename.endswith(ending)]
    if not weights:
        msg = "the package holds no .safetensors file, and no published checkpoint: pickles are not read"
        raise UnsupportedMediaError(msg, code="unsupported_format", errors=[_item(msg)])
    _write(archive, weights[0], target)
    folder = PurePosixPath(weights[0].filename).parent
    siblings = {
        PurePosixPath(member.filename).name: member
        for member in members
        if PurePosixPath(member.filename).parent == folder
    }

    def document(field: str, name: str) -> dict[str, Any] | None:
        member = siblings.get(name)
        return _object(field, read_member(archive, member, _MAX_CONFIG_BYTES)) if member else None

    vocab = siblings.get("vocab.txt")
    return Parts(
        target,
        _decoded(read_member(archive, vocab, MAX_VOCAB_BYTES)) if vocab else None,
        document("config", "config.json"),
        document("preprocessor", "preprocessor_config.json"),
    )


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        msg = "vocab.txt, config.json and preprocessor_config.json are UTF-8, and this is not"
        raise UnprocessableError(msg, errors=[_item(msg)]) from None


def _object(field: str, content: bytes) -> dict[str, Any]:
    return TypeAdapter[dict[str, Any]](dict[str, Any]).validate_python(json_field(field, _decoded(content)))


def _item(msg: str) -> ErrorItem:
    return ErrorItem(loc=["body", "file"], msg=msg)
