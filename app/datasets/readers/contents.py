"""What the members of a zip are: images, texts, tables, arrays, what systems leave behind, and everything else."""

import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.datasets.readers.archive import read_chunks
from app.datasets.readers.layouts import shared_folders
from app.datasets.report import Notes
from app.ml.spec import WarningCode

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".jfif"})
TABLE_ENDINGS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
NOT_READ = frozenset(
    {".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg", ".jp2", ".psd", ".raw", ".cr2", ".nef", ".dcm"}
    | {".nii", ".mp4", ".avi", ".mov", ".mkv", ".webm", ".pdf", ".wav", ".mp3", ".flac", ".npy", ".npz", ".mat", ".h5"}
    | {".hdf5", ".pkl", ".pickle", ".pt", ".parquet", ".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar"}
)
"""Endings of files that hold data, and are not read."""
ABOUT = re.compile(
    r"(read[-_ ]?me|licen[cs]e|copying|notice|citation|authors?|contributors|changelog|changes|attribution|credits)\b",
    re.IGNORECASE,
)
SUBMISSION = re.compile(r"submission[^/]*$", re.IGNORECASE)  # how answers to a competition are written, made-up labels
JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
JUNK_FOLDERS = frozenset(
    {"__macosx", "@eadir", "__pycache__", "$recycle.bin", "system volume information", "lost+found"}
)
MAX_SHOWN = 5
MAX_OTHER_SHARE = 0.2
DOCUMENTATION_ENDINGS = frozenset({".md", ".rst", ".html", ".json", ".yaml", ".yml", ".toml", ".cfg", ".csv", ".py"})
MAX_LABEL_BYTES = 8 << 20
LABEL_ENDINGS = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".lst", ".xml"})


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of an archive by what they are, each list sorted by name; `others` are none of the first four."""

    images: list[zipfile.ZipInfo]
    texts: list[zipfile.ZipInfo]
    tables: list[zipfile.ZipInfo]
    arrays: list[zipfile.ZipInfo]
    others: list[zipfile.ZipInfo]
    junk: list[zipfile.ZipInfo]

    def besides(self, chosen: Iterable[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
        """Return all files except junk and the `chosen` ones."""
        kept = set(chosen)
        everything = [*self.images, *self.texts, *self.tables, *self.arrays, *self.others]
        return sorted((member for member in everything if member not in kept), key=lambda member: member.filename)


def sort_members(members: Sequence[zipfile.ZipInfo]) -> Contents:
    """Tell files apart by their endings; files about the archive, such as a README.txt, are none of its texts."""
    contents = Contents([], [], [], [], [], [])
    wrappers = len(shared_folders([tuple(member.filename.split("/")[:-1]) for member in members]))
    for member in members:
        suffix = ending(member)
        if _is_junk(member.filename.split("/")[wrappers:]):
            contents.junk.append(member)
        elif suffix in IMAGE_ENDINGS:
            contents.images.append(member)
        elif suffix in TABLE_ENDINGS:
            contents.tables.append(member)
        elif suffix == ".npy":
            contents.arrays.append(member)
        elif suffix == ".txt" and not ABOUT.match(PurePosixPath(member.filename).name):
            contents.texts.append(member)
        else:
            contents.others.append(member)
    return contents


def ending(member: zipfile.ZipInfo) -> str:
    """Return the ending of the file's name in lower case, with its dot."""
    return PurePosixPath(member.filename).suffix.lower()


def _is_junk(parts: Sequence[str]) -> bool:
    """Return whether a system left the file behind, or it lies in a hidden folder or one of thumbnails or caches."""
    hidden = any(part.startswith((".", "~$")) for part in parts)
    return hidden or parts[-1].lower() in JUNK_FILES or any(part.lower() in JUNK_FOLDERS for part in parts[:-1])


def name_some(members: Sequence[zipfile.ZipInfo]) -> str:
    """Return the first few names for a message."""
    names = [repr(member.filename[:100]) for member in members[:MAX_SHOWN]]
    return ", ".join(names) + (" ..." if len(members) > MAX_SHOWN else "")


def notice_left_out(contents: Contents, rows: Sequence[zipfile.ZipInfo], notes: Notes) -> None:
    """Record, as notices, what is junk and which other files are not among the `rows`."""
    if contents.junk:
        shown = name_some(contents.junk)
        notes.notice(f"{len(contents.junk)} files that systems leave behind, or hide, were ignored: {shown}")
    others = contents.besides(rows)
    if others:
        notes.notice(f"{len(others)} files next to the rows were not read: {name_some(others)}")


def warn_of_left_out(
    archive: zipfile.ZipFile,
    contents: Contents,
    rows: Sequence[zipfile.ZipInfo],
    notes: Notes,
    *,
    without_labels: Sequence[zipfile.ZipInfo],
    classes: set[str],
) -> None:
    """Warn where files that are not among the `rows` may hold labels of theirs, or further rows.

    Rows `without_labels` may have some there; where folders give the `classes`, a file that names the rows and not all
    classes may hold others.
    """
    others = [member for member in contents.besides(rows) if not ABOUT.match(PurePosixPath(member.filename).name)]
    stems = {PurePosixPath(member.filename).stem for member in rows}
    sidecars = [member for member in others if PurePosixPath(member.filename).stem in stems]
    labels = [member for member in others if without_labels and _names_files(archive, member, without_labels)]
    if without_labels and not classes and 2 * len(sidecars) >= len(rows):
        labels = sidecars
    if labels:
        message = f"{len(labels)} files were not read, and perhaps hold the labels of the rows: {name_some(labels)}"
        remedy = "labels come from folders: put the files of each class into a folder of its own"
        notes.warn(WarningCode.FILES_NOT_READ, message, count=len(labels), remedy=remedy)
    further = [m for m in others if classes and m not in labels and _names_files(archive, m, rows, no_words=classes)]
    if further:
        message = f"the labels are the folders, and {len(further)} files that perhaps hold others were not read: "
        remedy = 'folders=["ignored"] (one for each folder around the files) reads the labels from a table'
        notes.warn(WarningCode.FILES_NOT_READ, message + name_some(further), count=len(further), remedy=remedy)
    others = [member for member in others if member not in sidecars and ending(member) not in DOCUMENTATION_ENDINGS]
    if len(others) > MAX_OTHER_SHARE * len(rows):
        message = f"{len(others)} files of another kind than the {len(rows)} rows were not read: {name_some(others)}"
        notes.warn(WarningCode.FILES_NOT_READ, message, count=len(others), remedy="pack files of one kind together")


def _names_files(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, rows: Sequence[zipfile.ZipInfo], no_words: set[str] | None = None
) -> bool:
    """Return whether the file names half of the rows, and not all of `no_words`: a list of labels, say."""
    if ending(member) not in LABEL_ENDINGS or member.file_size > MAX_LABEL_BYTES:
        return False
    text = b"".join(read_chunks(archive, member, MAX_LABEL_BYTES)).decode(errors="replace")
    words = set(re.split(r"[^\w.-]+", text))
    paths = [PurePosixPath(row.filename) for row in rows]
    named = 2 * sum(path.name in words or path.stem in words for path in paths) >= len(paths)
    plain = re.compile(r"[\w.-]+")
    return named and not (no_words and all(word in (words if plain.fullmatch(word) else text) for word in no_words))
