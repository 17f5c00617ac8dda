"""An .npy array: its first axis counts the rows."""

import tempfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from app.datasets.errors import DatasetError
from app.datasets.readers.npy import MAGIC, open_array
from app.predictions.bodies.form import BodyForm, check_count, unreadable


def read(content: bytes) -> NDArray[Any]:
    """Return an array (N, ...). Raises UnprocessableError where the bytes are no such array."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            array = open_array(Path(file.name), "body")  # mapped: it outlives the file's name
        except DatasetError as error:
            raise unreadable(str(error)) from None
    if array.ndim == 0:
        msg = "the array has no rows: save an array (N, ...) with numpy.save"
        raise unreadable(msg)
    check_count(len(array))
    return array


FORM = BodyForm(("application/x-npy",), (".npy",), read, magic=(MAGIC,))
