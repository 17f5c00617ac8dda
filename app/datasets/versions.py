"""Another dataset from a source that is kept, and what two datasets share. Nothing is uploaded for either."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.artifacts import Blob, link_files
from app.datasets.access import find_dataset
from app.datasets.report import LeakReport
from app.datasets.schemas import Dataset, Leaks, VersionRequest
from app.datasets.service import (
    PRINTS,
    check_earlier,
    check_name,
    check_options,
    new_row,
    prepared_files,
    queue_preparation,
    scratch,
)
from app.db.tables import DatasetRow
from app.dependencies import Services
from app.errors import UnprocessableError
from app.ml.data.spec import DataSpec
from app.queue import JobQueue

MAX_ROWS = 2_000_000
SPLITTING = frozenset({"splits", "seed", "same_splits_as"})


def create_version(
    session: Session, queue: JobQueue, project_id: str, dataset_id: str, body: VersionRequest
) -> Dataset:
    """Queue the preparation of the dataset's source under other options; what is not given stays as it was.

    Rows keep the splits that they have in the dataset, unless the request says how they are split.

    Raises:
        NotFoundError: there is no such dataset, or no such one as same_splits_as says.
        UnprocessableError: the name or the options are wrong.
    """
    row = find_dataset(session, project_id, dataset_id, lock=True)
    name = check_name(body.name or row.name)
    given = body.options.model_dump(mode="json", exclude_unset=True)
    options = check_options({**row.options, **_kept_splits(row, given), **given}, ["body", "options"])
    check_earlier(session, project_id, options)
    source = Blob(sha256=row.source_sha256, bytes=row.source_bytes)
    return queue_preparation(session, queue, new_row(project_id, name, row.filename, options, source))


def _kept_splits(row: DatasetRow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Let the rows keep their splits, unless the request or the file says how they are split."""
    roles = set((given.get("columns") or {}).values())
    if not SPLITTING.isdisjoint(given) or roles & {"split", "group", "time"}:
        return {}
    decided = {item["field"]: item["value"] for item in (row.report or {}).get("decisions", ())}
    known = row.status == "ready" and set(PRINTS) <= set(row.files or ())
    return {"same_splits_as": row.id} if known and decided.get("splits") != "given" else {}


def leaks(state: Services, project_id: str, dataset_id: str, against: str | None) -> Leaks:
    """Return the rows that train shares with validation and test, or a dataset with another one.

    Raises:
        NotFoundError: there is no such dataset.
        ConflictError: one of them is not ready.
        UnprocessableError: they hold different kinds of data, or too many rows to compare while one waits.
    """
    with state.database.reading() as session:
        mine = find_dataset(session, project_id, dataset_id)
        theirs = mine if against is None else find_dataset(session, project_id, against)
    for row in (mine, theirs):
        prepared_files(row, PRINTS)
    if against is None:
        report = LeakReport.model_validate((mine.report or {})["leaks"])
    else:
        report = _compare(state, mine, theirs)
    return Leaks(dataset=mine.id, against=against, **dict(report))


def _compare(state: Services, mine: DatasetRow, theirs: DatasetRow) -> LeakReport:
    from app.datasets.splits.leakage import leaks_against, open_prints  # noqa: PLC0415 - brings pyarrow, which few answers need

    specs = [DataSpec.model_validate(row.spec) for row in (mine, theirs)]
    if specs[0].modality != specs[1].modality:
        msg = f"{mine.id} holds {specs[0].modality} data and {theirs.id} {specs[1].modality}; compare like with like."
        raise UnprocessableError(msg, code="wrong_modality")
    rows = sum(sum(spec.rows.values()) for spec in specs)
    if rows > MAX_ROWS:
        msg = f"The two datasets have {rows} rows; at most {MAX_ROWS} are compared."
        raise UnprocessableError(msg, code="too_many_rows")
    with tempfile.TemporaryDirectory(dir=scratch(state)) as folder:
        prints = [
            open_prints(link_files(state.artifacts, prepared_files(row, PRINTS), Path(folder) / side), spec.modality)
            for row, spec, side in zip((mine, theirs), specs, ("mine", "theirs"), strict=True)
        ]
        return leaks_against(prints[0], prints[1], theirs.id)
