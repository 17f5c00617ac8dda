"""Lists and copies the files of a source under a prefix that the operator allows.

What is stored of a source is a listing: names, sizes and versions of its files (ETags in a bucket, times of change in a
folder). A preparation copies the files of the listing, and is refused where one has changed since.
"""

import zipfile
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import SplitResult, urlsplit

from app.artifacts import ArtifactStore, fetch_blob
from app.datasets.errors import Code
from app.datasets.limits import Limits
from app.datasets.registered.folder import Folder
from app.datasets.registered.listing import Listing, Place, SourceFile, changed, refused
from app.datasets.repository import DatasetRow
from app.settings import Settings


def list_source(url: str, settings: Settings) -> Listing:
    """List the files of a source, which is a file or a folder of them.

    Raises:
        DatasetError: no prefix that the operator allows holds it, it is not there, or it is too large.
    """
    place = open_place(url, settings)
    files = []
    for file in place.files():
        files.append(file)
        if len(files) > Limits().members:
            msg = f"it has more than {Limits().members} files, which is the most"
            raise refused(msg, Code.TOO_LARGE)
    listing = Listing(url=url, files=tuple(sorted(files, key=lambda file: file.name)))
    if not files:
        msg = "there is no such file, and no file below it"
        raise refused(msg)
    if listing.bytes > settings.max_upload_bytes:
        msg = f"its files have {listing.bytes} bytes; GRAFTWORK_MAX_UPLOAD_BYTES allows {settings.max_upload_bytes}"
        raise refused(msg, Code.TOO_LARGE)
    return listing


def fetch_stored(store: ArtifactStore, dataset: DatasetRow, settings: Settings, folder: Path) -> Path:
    """Return the file that a dataset is prepared from: the uploaded one, or a copy of its source in `folder`.

    Raises:
        CorruptError: the stored bytes are missing or damaged.
        DatasetError: the source is not allowed any more, or has changed.
    """
    path = fetch_blob(store, dataset.source_sha256)
    # What was uploaded is never taken for a listing, whatever it holds: the row says which it is.
    if dataset.source is None:
        return path
    return fetch_source(Listing.model_validate_json(path.read_text(encoding="utf-8")), settings, folder)


def fetch_source(listing: Listing, settings: Settings, folder: Path) -> Path:
    """Copy the files of a listing to this machine: a file as it is, several into one zip, in the order of their names.

    Raises:
        DatasetError: the operator does not allow the source any more, or its files are not those of the listing.
    """
    now = list_source(listing.url, settings)
    if now != listing:
        before, after = set(listing.files), set(now.files)
        raise changed({file.name or listing.filename for file in before ^ after})
    place, path = open_place(listing.url, settings), folder / "source"
    if [file.name for file in listing.files] == [""]:
        with path.open("wb") as target:
            _copy(place, listing.files[0], target, listing)
        return path
    with zipfile.ZipFile(path, "w") as archive:  # stored, not compressed: it is read once
        for file in listing.files:
            with archive.open(zipfile.ZipInfo(file.name), "w", force_zip64=True) as target:
                _copy(place, file, target, listing)
    return path


def _copy(place: Place, file: SourceFile, target: IO[bytes], listing: Listing) -> None:
    """Copy a file; raises DatasetError where it has become another while it was read."""
    if place.copy(file, target) != file.version:
        raise changed({file.name or listing.filename})


def open_place(url: str, settings: Settings) -> Place:
    """Return where a source is. Raises DatasetError where no prefix that the operator allows holds it."""
    parts = _parse(url)
    allowed = [prefix for prefix in settings.sources if _holds(_parse(prefix), parts)]
    if not allowed:
        known = ", ".join(settings.sources) or "none"
        msg = f"an operator allows prefixes by GRAFTWORK_SOURCES, and none of them holds it; they are: {known}"
        raise refused(msg)
    if parts.scheme == "file":
        return Folder(Path(parts.path), [Path(_parse(prefix).path) for prefix in allowed], settings.data_folder)
    own = urlsplit(settings.artifacts_url)
    if own.scheme == "s3" and (_holds(own, parts) or _holds(parts, own)):
        msg = "the service's own files are there"
        raise refused(msg)
    from app.datasets.registered.bucket import Bucket  # noqa: PLC0415 - the bucket's client is loaded where it is used

    return Bucket(parts.netloc, parts.path.strip("/"), settings.artifacts_patience_seconds)


def _parse(url: str) -> SplitResult:
    """Split a URL into bucket and path, and refuse whatever could mean another place than it says."""
    parts = urlsplit(url)
    steps = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    is_plain = not any(character in "%?#\\@" or not character.isprintable() for character in url)
    has_host = bool(parts.netloc) and ":" not in parts.netloc
    if parts.scheme not in {"s3", "file"} or has_host != (parts.scheme == "s3") or not is_plain:
        msg = "write s3://bucket/path or file:///folder, without %, ?, #, @, backslashes or a port"
        raise refused(msg)
    if any(step in {"", ".", ".."} for step in steps):
        msg = "a part of its path is empty, or . or .."
        raise refused(msg)
    return parts


def _holds(prefix: SplitResult, url: SplitResult) -> bool:
    """Return whether a URL is a prefix, or below it: whole parts of the path count."""
    outer, inner = (PurePosixPath("/", parts.path.strip("/")) for parts in (prefix, url))
    return (prefix.scheme, prefix.netloc) == (url.scheme, url.netloc) and inner.is_relative_to(outer)
