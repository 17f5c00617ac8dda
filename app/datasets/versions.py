"""New versions of a dataset, from its stored source or from one with more rows, and rows that two datasets share."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.artifacts import Blob, link_files
from app.datasets.access import find_dataset, is_input
from app.datasets.canonical.fingerprints import FILES as FINGERPRINT_FILES
from app.datasets.canonical.fingerprints import is_rounded, open_fingerprints
from app.datasets.report import LeakReport
from app.datasets.repository import DatasetRow
from app.datasets.schemas import Dataset, Leaks, VersionRequest
from app.datasets.service import (
    NewDataset,
    StoredSource,
    check_name,
    check_options,
    find_source,
    prepared_files,
    queue_preparation,
    scratch_folder,
    with_earlier_dataset,
)
from app.datasets.splits.leakage import leaks_against
from app.dependencies import Services
from app.errors import UnprocessableError
from app.idempotency.service import fingerprint, once
from app.ml.spec import DataSpec

MAX_ROWS = 2_000_000
SPLIT_OPTIONS = frozenset({"splits", "seed", "same_splits_as"})


def create_version(state: Services, project_id: str, key: str | None, dataset_id: str, body: VersionRequest) -> Dataset:
    """Queue the preparation of a new source, or of the dataset's own, once for a key.

    Options that are not given stay as they were. Rows keep the splits that they have in the dataset, unless the request
    says how they are split.

    Raises:
        NotFoundError: there is no such dataset, or none that same_splits_as names.
        UnprocessableError: the name or the options are wrong, or there is no such upload or source, or it is not
            complete or allowed.
        UnsupportedMediaError: the uploaded file is of no known format.
        ConflictError: the rows of a new source cannot keep the splits of the dataset, or not yet.
    """
    has_source = body.upload is not None or body.source is not None
    new_source = find_source(state, project_id, body.upload, body.source) if has_source else None

    def prepare(session: Session) -> Dataset:
        row = find_dataset(session, project_id, dataset_id, lock=True)
        name = check_name(body.name or row.name)
        changes = body.options.model_dump(mode="json", exclude_unset=True)
        kept_splits = _kept_splits(row, changes, of_other_rows=has_source)
        options = check_options({**row.options, **kept_splits, **changes}, ["body", "options"])
        options = with_earlier_dataset(session, project_id, options)
        source = _source(row) if new_source is None else new_source(session)
        return queue_preparation(session, state.queue, project_id, NewDataset(name, options, source, row.id))

    request = fingerprint("versions", dataset_id, body.model_dump_json(exclude_unset=True))
    return state.database.transact(
        lambda session: once(session, project_id, key, request, partial(prepare, session), Dataset)
    )


def _source(row: DatasetRow) -> StoredSource:
    return StoredSource(row.filename, Blob(sha256=row.source_sha256, bytes=row.source_bytes), row.source)


def _kept_splits(row: DatasetRow, changes: Mapping[str, Any], *, of_other_rows: bool) -> dict[str, Any]:
    """Return the option by which rows keep their splits, unless the request or the file says how they are split.

    Raises:
        ConflictError: the source is one of other rows, and those of the dataset cannot be known again in it.
    """
    roles = set((changes.get("columns") or {}).values())
    if not SPLIT_OPTIONS.isdisjoint(changes) or roles & {"split", "group", "time"}:
        return {"same_splits_as": None}  # the dataset may be a version itself, and keep the splits of another one
    decisions = {item["field"]: item["value"] for item in (row.report or {}).get("decisions", ())}
    if decisions.get("splits") == "given":
        return {}
    if of_other_rows and row.status != "failed":
        prepared_files(row, FINGERPRINT_FILES)
    comparable = row.status == "ready" and set(FINGERPRINT_FILES) <= set(row.files or ())
    return {"same_splits_as": row.id} if comparable else {}


def leaks(state: Services, project_id: str, dataset_id: str, against: str | None) -> Leaks:
    """Return the rows that validation and test share with train, or a dataset with another one.

    Raises:
        NotFoundError: there is no such dataset.
        ConflictError: one of them is not ready.
        UnprocessableError: they are of different modalities, or have too many rows to compare during a request.
    """
    with state.database.reading() as session:
        row = find_dataset(session, project_id, dataset_id)
        other = row if against is None else find_dataset(session, project_id, against)
    for compared in (row, other):
        prepared_files(compared, FINGERPRINT_FILES)
    own_leaks = (row.report or {}).get("leaks")
    report = LeakReport.model_validate(own_leaks) if against is None else _compare(state, row, other)
    return Leaks(dataset=row.id, against=against and other.id, **dict(report))


def _compare(state: Services, own: DatasetRow, other: DatasetRow) -> LeakReport:
    specs = [DataSpec.model_validate(row.spec) for row in (own, other)]
    if specs[0].modality != specs[1].modality:
        msg = f"{own.id} holds {specs[0].modality} data and {other.id} {specs[1].modality}; compare like with like."
        raise UnprocessableError(msg, code="wrong_modality")
    rows = sum(sum(spec.rows.values()) for spec in specs)
    if rows > MAX_ROWS:
        msg = f"The two datasets have {rows} rows; at most {MAX_ROWS} are compared."
        raise UnprocessableError(msg, code="too_many_rows")
    with tempfile.TemporaryDirectory(dir=scratch_folder(state)) as folder:
        folders = [
            link_files(state.artifacts, prepared_files(row, (*FINGERPRINT_FILES, "manifest.json")), Path(folder) / side)
            for row, side in ((own, "own"), (other, "other"))
        ]
        rounded = specs[0].modality in {"table", "series"} and is_rounded(folders[0]) != is_rounded(folders[1])
        if rounded:
            for row, files in zip((own, other), folders, strict=True):
                names = [name for name in row.files or () if is_input(name)]
                link_files(state.artifacts, prepared_files(row, names), files)
        sides = [open_fingerprints(files, spec, rounded=rounded) for files, spec in zip(folders, specs, strict=True)]
        return leaks_against(sides[0], sides[1], other.id)
