"""The example project of `graftwork init`: the files of the folder `project`, which are read and run as they are."""

from importlib.resources import files
from pathlib import Path


def write_example(folder: Path) -> list[str]:
    """Write the files of the example into a folder that is new or empty, and return their names.

    Raises:
        FileExistsError: something is there already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        msg = f"{folder} is there already: name a new folder, or an empty one"
        raise FileExistsError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    written = sorted(
        (file.name, file.read_bytes()) for file in files(__name__).joinpath("project").iterdir() if file.is_file()
    )
    for name, content in written:
        (folder / name).write_bytes(content)
    return [name for name, _ in written]
