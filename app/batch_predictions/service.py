"""Queues batch predictions for files that are sent for them: a file is stored by its content, and its job names it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.artifacts import Blob
from app.datasets.source_files import store_upload
from app.dependencies import Services
from app.errors import ErrorItem, UnprocessableError
from app.idempotency.service import fingerprint, once
from app.jobs import service as jobs
from app.jobs.interface import JobColumns
from app.jobs.kinds.batch_prediction import UploadOptions, columns_of, find_model, reading_of
from app.jobs.schemas import Job
from app.kit import strict_json
from app.kit.forms import Form
from app.kit.json_schema import Schema
from app.storage.quotas import refuse_exceeded
from app.validation import error_items, sentence

MAX_NAME = 200


def create(state: Services, project_id: str, key: str | None, form: Form) -> Job:
    """Store a file and queue the job that answers its rows.

    Raises:
        UnprocessableError: a field is wrong, or the file is empty.
        UnsupportedMediaError: the file is of no known format.
        NotFoundError, ConflictError, TooManyError: as of any job.
        QuotaError: the project would exceed its quota.
    """
    options = _options(form.fields)
    with state.database.reading() as session:
        find_model(session, project_id, options)  # before a large file is stored
    blob = store_upload(state.artifacts, form, _check_format)
    fields = (f"{name}={text}" for name, text in sorted(form.fields.items()))
    request = fingerprint("batch_predictions", form.sha256, form.filename, *fields)
    resolve = partial(_columns, options=options, filename=form.filename[:MAX_NAME], blob=blob)
    limit = state.settings.max_queued_jobs

    def submit(session: Session) -> Job:
        job = jobs.submit(session, state.queue, project_id, resolve, limit)
        refuse_exceeded(session, project_id)
        return job

    return state.database.transact(
        lambda session: once(session, project_id, key, request, partial(submit, session), Job)
    )


def _columns(session: Session, project_id: str, *, options: UploadOptions, filename: str, blob: Blob) -> JobColumns:
    model = find_model(session, project_id, options)
    file = {"name": filename, **blob.model_dump()}
    return columns_of(options, model, file=file, reading=reading_of(session, model, options))


def _options(fields: Mapping[str, str]) -> UploadOptions:
    """Read the options from the fields of a form: lists and objects are JSON, others text, empty ones absent."""
    values = {name: _value(name, text) for name, text in fields.items() if text.strip()}
    try:
        return UploadOptions.model_validate(values)
    except ValidationError as error:
        entries = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
        schema = UploadOptions.model_json_schema()
        items = error_items(entries, values, Schema(schema, schema.get("$defs", {})))
        raise UnprocessableError(sentence(items), errors=items) from None


def _value(name: str, text: str) -> Any:
    """Return the value of a field, which is JSON if it looks like it; a list of one text may be that text."""
    text = text.strip()
    if not text.startswith(("{", "[")):
        whole = name in {"checkpoint_rows", "priority"} and text.lstrip("-").isdecimal()
        return int(text[:20]) if whole else [text] if name == "outputs" or (name == "keep" and text != "auto") else text
    try:
        return strict_json.loads(text.encode())
    except strict_json.StrictJsonError as error:
        msg = f"{name}: {error}"
        raise UnprocessableError(msg, errors=[ErrorItem(loc=["body", name], msg=str(error))]) from None


def _check_format(path: Path) -> None:
    """Raise DatasetError for a file of an unknown format, before anything is stored."""
    from app.batch_predictions.row_files import check_format  # noqa: PLC0415 - brings pyarrow, for uploads alone

    check_format(path)
