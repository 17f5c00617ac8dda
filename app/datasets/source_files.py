"""Stores uploaded files whose form is known: those of datasets, and those of rows to predict."""

from collections.abc import Callable
from pathlib import Path

from app import failpoints
from app.artifacts import ArtifactStore, Blob, put_blob
from app.datasets.errors import DatasetError
from app.errors import ErrorItem, UnprocessableError, UnsupportedMediaError
from app.kit.forms import Form


def store_upload(store: ArtifactStore, form: Form, check: Callable[[Path], object]) -> Blob:
    """Store the file of a form by its content, unless `check` refuses it, which raises DatasetError.

    Raises:
        UnsupportedMediaError: the file is of no known format.
        UnprocessableError: the file is empty, or at fault in another way that is seen at once.
    """
    check_source(form.path, check)
    blob = put_blob(store, form.path, form.sha256)
    failpoints.reach("upload.stored")
    return blob


def check_source(path: Path, check: Callable[[Path], object]) -> None:
    """Refuse a file that `check` refuses, which raises DatasetError.

    Raises:
        UnsupportedMediaError: the file is of no known format.
        UnprocessableError: the file is empty, or at fault in another way that is seen at once.
    """
    try:
        check(path)
    except DatasetError as error:
        items = [ErrorItem(loc=["body", *fault.loc], msg=fault.msg, row=fault.row) for fault in error.errors]
        kind = UnsupportedMediaError if error.code == "unsupported_format" else UnprocessableError
        raise kind(error.message, code=error.code, errors=items) from None
