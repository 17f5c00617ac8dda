"""Creates, answers and deletes datasets. Needs no torch."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unicodedata import normalize

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.artifacts import Blob, blob_key, put_blob
from app.datasets import repository
from app.datasets.access import find_dataset, not_ready, ready_spec
from app.datasets.canonical.fingerprints import OWN_FILES
from app.datasets.errors import DatasetError
from app.datasets.limits import Limits
from app.datasets.opening import link_dataset
from app.datasets.options import PrepareOptions
from app.datasets.repository import DatasetRow
from app.datasets.schemas import Dataset, DatasetLinks, DatasetRequest, DatasetSummary, RowsPage
from app.datasets.source_files import check_source, store_upload
from app.dependencies import Services
from app.errors import ConflictError, ErrorItem, UnprocessableError
from app.idempotency.service import fingerprint, once
from app.jobs.kinds.preparation import Preparation
from app.jobs.queueing import enqueue
from app.kit import strict_json
from app.kit.forms import Form
from app.kit.ids import is_id, new_id
from app.kit.json_schema import Schema
from app.kit.pages import Listing, Page, View, listing, summary_of
from app.kit.streaming import display_name
from app.queue import JobQueue
from app.storage.quotas import refuse_exceeded, refuse_full
from app.uploads.service import source_of
from app.validation import error_items, sentence

MAX_NAME = 200
Request = TypeVar("Request", bound=PrepareOptions)


def create(state: Services, project_id: str, key: str | None, form: Form) -> Dataset:
    """Store an uploaded file and queue the preparation of a dataset from it.

    Raises:
        UnprocessableError: a field is wrong, or the file is empty.
        UnsupportedMediaError: the file is of no known format.
    """
    name, options = check_name(form.fields.get("name", "")), _options(form.fields)
    with state.database.reading() as session:
        options = with_earlier_dataset(session, project_id, options)
    source = StoredSource(form.filename[:MAX_NAME], store_upload(state.artifacts, form, _check_format))
    request = fingerprint("datasets", form.sha256, form.filename, *(f"{k}={v}" for k, v in sorted(form.fields.items())))
    return _prepared_once(state, project_id, key, request, name, options, lambda _: source)


def create_from_json(state: Services, project_id: str, key: str | None, body: bytes) -> Dataset:
    """Queue the preparation of a dataset from an upload in parts or in place; `body` is a `DatasetRequest` as JSON.

    Raises:
        UnprocessableError: a field is wrong, or there is no such upload or source, or it is not complete or allowed.
        UnsupportedMediaError: the uploaded file is of no known format.
    """
    try:
        values = strict_json.loads(body)
    except strict_json.StrictJsonError as error:
        raise UnprocessableError(str(error), errors=[ErrorItem(loc=["body"], msg=str(error))]) from None
    given = _checked(DatasetRequest, values, ["body"])
    name = check_name(given.name)
    options = PrepareOptions.model_validate(given.model_dump(exclude={"name", "upload", "source"}, exclude_unset=True))
    request = fingerprint("datasets", given.model_dump_json(exclude_unset=True))
    with state.database.reading() as session:
        options = with_earlier_dataset(session, project_id, options)
    source = find_source(state, project_id, given.upload, given.source)
    return _prepared_once(state, project_id, key, request, name, options, source)


@dataclass(frozen=True, slots=True)
class StoredSource:
    """What a dataset is prepared from: a stored file, or the stored listing of a source that is `registered` in place.

    `filename` is the user's name for it.
    """

    filename: str
    stored: Blob
    registered: dict[str, Any] | None = None


def find_source(
    state: Services, project_id: str, upload: str | None, url: str | None
) -> Callable[[Session], StoredSource]:
    """Check an upload in parts, or list the files at `url`; the function that is returned gives the source.

    It is called in the transaction that names the source's file.

    Raises:
        UnprocessableError: there is no such upload or source, or it is not complete or allowed.
        UnsupportedMediaError: the uploaded file is of no known format.
        UnavailableError: the bucket does not answer.
    """
    if url is not None:
        registered = _register(state, url)
        return lambda _: registered

    def uploaded(session: Session) -> StoredSource:
        blob, filename = source_of(session, project_id, upload or "")
        return StoredSource(filename, blob)

    with state.database.reading() as session:
        blob = uploaded(session).stored
    check_source(state.artifacts.fetch(blob_key(blob.sha256)), _check_format)
    return uploaded  # which asks once more: the upload may be gone by then


def _register(state: Services, url: str) -> StoredSource:
    """Store the listing of a source.

    Raises:
        UnprocessableError: the source is not allowed, not there or too large.
        UnavailableError: the bucket does not answer.
    """
    from app.datasets.registered.sources import list_source  # noqa: PLC0415 - needed for sources alone

    try:
        listing = list_source(url, state.settings)
    except DatasetError as error:
        items = [ErrorItem(loc=["body", *fault.loc], msg=fault.msg, row=fault.row) for fault in error.errors]
        raise UnprocessableError(error.message, code=error.code, errors=items) from None
    path = scratch_folder(state) / new_id("listing")
    try:
        path.write_text(listing.model_dump_json(), encoding="utf-8")
        registered = {"url": url, "files": len(listing.files), "bytes": listing.bytes}
        return StoredSource(display_name(url)[:MAX_NAME], put_blob(state.artifacts, path), registered)
    finally:
        path.unlink(missing_ok=True)


def _prepared_once(
    state: Services,
    project_id: str,
    key: str | None,
    request: str,
    name: str,
    options: PrepareOptions,
    source: Callable[[Session], StoredSource],
) -> Dataset:
    """Queue the preparation of a source once for a key."""

    def prepare(session: Session) -> Dataset:
        new = NewDataset(name, options, source(session))
        return queue_preparation(session, state.queue, project_id, new)

    return state.database.transact(
        lambda session: once(session, project_id, key, request, partial(prepare, session), Dataset)
    )


@dataclass(frozen=True, slots=True)
class NewDataset:
    """A dataset to be prepared; `version_of` is the id of the dataset that it is a version of."""

    name: str
    options: PrepareOptions
    source: StoredSource
    version_of: str | None = None


def queue_preparation(session: Session, queue: JobQueue, project_id: str, dataset: NewDataset) -> Dataset:
    """Add a dataset and the job that prepares it.

    Raises:
        QuotaError: the project has used up its quota, or would exceed it.
    """
    refuse_full(session, project_id)
    row = repository.add(
        session,
        project_id=project_id,
        name=dataset.name,
        filename=dataset.source.filename,
        options=dataset.options.model_dump(mode="json"),
        source_sha256=dataset.source.stored.sha256,
        source_bytes=dataset.source.stored.bytes,
        source=dataset.source.registered,
    )
    columns = Preparation(dataset=row.id, version_of=dataset.version_of).resolve(session, project_id)
    row.job_id = enqueue(session, queue, project_id, columns).id
    session.flush()
    refuse_exceeded(session, project_id)
    return to_answer(row)


def _field_error(loc: list[str | int], msg: str) -> UnprocessableError:
    return UnprocessableError(f"{loc[-1]}: {msg}", errors=[ErrorItem(loc=loc, msg=msg)])


def check_name(name: str) -> str:
    """Return the name without blanks around it, in Unicode's composed form, or refuse it."""
    name = normalize("NFC", name.strip())
    if is_id(name, "ds"):
        msg = "a name that looks like a dataset's id could never be asked for"
        raise _field_error(["body", "name"], msg)
    if not 1 <= len(name) <= MAX_NAME or display_name(name) != name:
        msg = f"give the dataset a name of 1 to {MAX_NAME} characters, without control characters"
        raise _field_error(["body", "name"], msg)
    return name


def _options(fields: Mapping[str, str]) -> PrepareOptions:
    """Read the options from the fields of a form: lists and objects are JSON, others text, empty ones absent."""
    values = {name: _value(name, text) for name, text in fields.items() if name != "name" and text.strip()}
    return check_options(values, ["body"])


def check_options(values: Mapping[str, Any], loc: list[str | int]) -> PrepareOptions:
    """Validate options; `loc` says where in the request they are."""
    return _checked(PrepareOptions, values, loc)


def _checked(kind: type[Request], values: Any, loc: list[str | int]) -> Request:
    """Validate `values`, which are at `loc` of a request. Raises UnprocessableError, naming each wrong field."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        entries = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
        schema = kind.model_json_schema()
        items = error_items(entries, values, Schema(schema, schema.get("$defs", {})))
        items = [item.model_copy(update={"loc": [*loc, *item.loc[1:]]}) for item in items]
        raise UnprocessableError(sentence(items), errors=items) from None


def _value(name: str, text: str) -> Any:
    """Return the value of a field of a form, which is JSON if it looks like a list or an object."""
    if not text.lstrip().startswith(("{", "[")):
        return text.strip()
    try:
        return strict_json.loads(text.encode())
    except strict_json.StrictJsonError as error:
        raise _field_error(["body", name], str(error)) from None


def with_earlier_dataset(session: Session, project_id: str, options: PrepareOptions) -> PrepareOptions:
    """Return the options with same_splits_as an id; refuse it where the splits of that dataset cannot be known again.

    Raises:
        NotFoundError: there is no such dataset.
        ConflictError: it is not ready, or was prepared before rows had digests.
    """
    if options.same_splits_as is None:
        return options
    earlier = find_dataset(session, project_id, options.same_splits_as)
    prepared_files(earlier, OWN_FILES)
    return options.model_copy(update={"same_splits_as": earlier.id})


def prepared_files(row: DatasetRow, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return some of the files of a prepared dataset.

    Raises:
        ConflictError: it is not ready, or was prepared by a release without such files.
    """
    if row.status != "ready" or row.files is None:
        raise not_ready(row)
    if not set(names) <= set(row.files):
        msg = f"{row.id} was prepared by an earlier release; prepare it anew by POST /v1/datasets/{row.id}/versions."
        raise ConflictError(msg, code="dataset_outdated")
    return {name: row.files[name] for name in names}


def _check_format(path: Path) -> None:
    """Raise DatasetError for a file of an unknown format, before anything is stored."""
    from app.datasets.readers import detect  # noqa: PLC0415 - brings pyarrow, which only uploads need

    detect(path, Limits())


def list_page(
    session: Session, project_id: str, page: Page, view: View, status: str | None, name: str | None
) -> Listing[Dataset] | Listing[DatasetSummary]:
    """Return one page of datasets."""
    rows, more = repository.page(session, project_id, page, status, name)
    datasets = [to_answer(row) for row in rows]
    if view == "full":
        return Listing[Dataset](**listing(datasets, has_more=more))
    summaries = [summary_of(dataset, DatasetSummary) for dataset in datasets]
    return Listing[DatasetSummary](**listing(summaries, has_more=more))


def get(session: Session, project_id: str, dataset_id: str) -> Dataset:
    """Return one dataset."""
    return to_answer(find_dataset(session, project_id, dataset_id))


def report(session: Session, project_id: str, dataset_id: str) -> dict[str, Any]:
    """Return the report of the preparation.

    Raises:
        ConflictError: there is no report (yet).
    """
    row = find_dataset(session, project_id, dataset_id)
    if row.report is None:
        raise not_ready(row)
    return row.report


def rows(state: Services, project_id: str, dataset_id: str, limit: int, offset: int) -> RowsPage:
    """Return some prepared rows. The transaction ends before the files are touched.

    Raises:
        ConflictError: the dataset is not ready.
    """
    from app.datasets.canonical.rows import preview  # noqa: PLC0415 - brings Pillow, which only previews need

    with state.database.reading() as session:
        row = find_dataset(session, project_id, dataset_id)
    spec = ready_spec(row)
    total = sum(spec.rows.values())
    with tempfile.TemporaryDirectory(dir=scratch_folder(state)) as folder:
        space = state.settings.shard_cache_bytes
        shards = link_dataset(state.artifacts, row.files or {}, Path(folder), space, reads_some=True)
        data = preview(Path(folder), spec, offset, limit, shards)
    return RowsPage(data=data, offset=offset, total=total, has_more=offset + len(data) < total)


def delete(session: Session, project_id: str, dataset_id: str) -> None:
    """Delete a dataset. Models made from it stay.

    Raises:
        ConflictError: it is named by its name, or an unfinished job reads it.
    """
    row = find_dataset(session, project_id, dataset_id, lock=True)
    if row.id != dataset_id:
        msg = f"Datasets are deleted by id: {row.id} is the one that this name means now, and not after its deletion."
        raise ConflictError(msg, code="which_dataset")
    job_id = repository.job_using(session, project_id, dataset_id)
    if job_id is not None:
        msg = f"The job {job_id} uses this dataset; wait for it or cancel it first."
        raise ConflictError(msg, code="in_use")
    repository.mark_deleted(session, project_id, dataset_id)


def to_answer(row: DatasetRow) -> Dataset:
    """Return the answer that describes a dataset."""
    spec, report = row.spec or {}, row.report or {}
    path = f"/v1/datasets/{row.id}"
    job = f"/v1/jobs/{row.job_id}" if row.job_id else None
    return Dataset(
        id=row.id,
        name=row.name,
        status=row.status,
        modality=spec.get("modality") or row.options.get("modality"),
        filename=row.filename,
        bytes=row.source_bytes,
        sha256=row.source_sha256,
        source=row.source,
        rows=spec.get("rows"),
        targets=spec.get("targets"),
        columns=spec["columns"] if spec.get("modality") in {"table", "series"} else None,
        warnings=report.get("warnings", []),
        decisions=report.get("decisions", []),
        job=row.job_id,
        error=row.error,
        created_at=row.created_at,
        prepared_at=row.prepared_at,
        links=DatasetLinks(self=path, report=f"{path}/report", rows=f"{path}/rows", job=job),
    )


def scratch_folder(state: Services) -> Path:
    """Return the folder for files that are needed only while a request is answered."""
    folder = state.settings.data_folder / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
