"""A batch prediction as a job: rows are answered part by part, and the parts become two files. It makes no model."""

import time
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from app.artifacts import fetch_blob
from app.batch_predictions.row_files import Expected, Opening, open_rows
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.options import PrepareOptions, SeriesOptions
from app.datasets.registered.sources import fetch_stored
from app.datasets.report import Notes
from app.datasets.repository import DatasetRow
from app.jobs import lease as leases
from app.ml.interfaces import Modality
from app.ml.spec import MAX_WARNING_ROWS, DataSpec, WarningCode, WarningItem
from worker.attempt.context import JobContext
from worker.attempt.job_inputs import device_for, open_data, open_model
from worker.attempt.reporter import progress_of
from worker.batch_prediction.answers import Answerer, Answers
from worker.batch_prediction.columns import Columns
from worker.batch_prediction.parts import Counts, Parts
from worker.batch_prediction.results import write_results
from worker.batch_prediction.sources import (
    DatasetSource,
    FileSource,
    Source,
    SourceBlock,
    are_ascending,
    check_columns,
)

_REPORT_SECONDS = 0.5
_MAX_NAMED = 10


def run(context: JobContext) -> None:
    """Answer all rows from the first that no earlier attempt has answered, and write the results."""
    attempt, job, folder = context.attempt, context.job, context.folder
    attempt.report(progress_of(0, 1, 0, None), [], "loading")
    config = job.config
    bundle = open_model(attempt, config["model"], folder / "model")
    source, metrics = _source(context, bundle.manifest.modality)
    answerer = Answerer(bundle, config["outputs"], device_for(job), config["unknown"])
    columns = Columns(source.kept, source.fixed, answerer.sample(), answerer.features)
    parts = Parts(attempt, folder / "parts", columns.schema, config["checkpoint_rows"])
    start = parts.resume()
    message = f"Answering {source.rows} rows." if not start else f"Going on at row {start} of {source.rows}."
    attempt.enter("running", "predicting", message, {"rows": source.rows, "from": start})
    _answer_all(context, source, answerer, columns, parts, start)
    out = folder / "results"
    out.mkdir()
    progress = _Progress(context, source.rows, "writing")
    write_results(parts.kept, columns.schema, out, progress.tell)
    attempt.enter("finalizing", "storing", "All rows are answered; storing the results.")
    attempt.warn(parts.tally.warnings())
    files = attempt.keep(out)

    def publish(session: Session) -> None:
        leases.write(session, attempt.lease, metrics={**asdict(parts.counts), **metrics}, files=files)
        attempt.drop_checkpoints(session)

    attempt.succeed("The results are there.", publish)


def _source(context: JobContext, modality: Modality) -> tuple[Source, dict[str, Any]]:
    """Open the rows; return them, and what the job's metrics say of them."""
    if context.job.dataset_id is not None:
        dataset, data = open_data(context)
        removed = _rows_not_in(dataset)
        if removed["rows_not_in_dataset"]:
            context.attempt.warn([_warning_of_removed(dataset, removed)])
        folder = context.folder / "data"
        copied = _columns_to_copy(context, dataset, modality) if are_ascending(folder) else None
        if copied is None and context.job.config["keep"] not in ("auto", []):
            message = "keep: this dataset's file has no columns to copy, or not a line for each row; leave it out"
            raise DatasetError(Code.UNKNOWN_COLUMN, message, [RowError(("keep",), message)])
        return DatasetSource(data, folder, modality, copied), removed
    return _file_source(context, modality), {}


def _columns_to_copy(context: JobContext, dataset: DatasetRow, modality: Modality) -> FileSource | None:
    """Open the dataset's file for the columns that are to be copied; None where it has none, or numbers rows otherwise.

    Raises:
        DatasetError: a column is to be kept that there is not.
    """
    keep = context.job.config["keep"]
    options, spec = PrepareOptions.model_validate(dataset.options), DataSpec.model_validate(dataset.spec)
    scratch = context.folder / "scratch"
    scratch.mkdir()
    names = (*(column.name for column in spec.columns), *spec.input_names)
    expected = Expected(spec.modality, inputs=names, left_out=spec.left_out, encoding=options.encoding)
    path = fetch_stored(context.attempt.artifacts, dataset, context.settings, scratch)
    try:
        file = open_rows(path, Opening(scratch, expected, Notes(), context.stop_if_draining, dataset.filename))
    except DatasetError:
        return None
    if not file.columns or file.rows != (dataset.report or {}).get("rows", {}).get("read"):
        return None
    chosen = [name for name in file.columns if name in spec.left_out] if keep == "auto" else keep
    return FileSource(file, chosen, modality, has_files=False)


def _file_source(context: JobContext, modality: Modality) -> FileSource:
    config, notes = context.job.config, Notes()
    path = fetch_blob(context.attempt.artifacts, config["file"]["sha256"])
    scratch = context.folder / "scratch"
    scratch.mkdir()
    signature, reading = modality.signature(), dict(config["reading"])
    series = reading.pop("series", None)
    expected = Expected(
        modality=signature.modality,
        inputs=modality.keys,
        required=modality.required_keys,
        left_out=modality.left_out,
        channels=max(1, len(signature.columns)),
        steps=signature.steps or 1,
        series=None if series is None else SeriesOptions.model_validate(series),
        **reading,
    )
    context.attempt.report(progress_of(0, 1, 0, None), [], "counting the rows")
    file = open_rows(path, Opening(scratch, expected, notes, context.stop_if_draining, config["file"]["name"]))
    missing = check_columns(file, modality)
    if missing:
        named = ", ".join(repr(name[:40]) for name in missing[:_MAX_NAMED])
        message = f"the file lacks {len(missing)} columns of the model, which count as missing in every row: {named}"
        remedy = "send the columns under the training file's names"
        notes.warn(WarningCode.COLUMNS_MISSING, message, count=len(missing), remedy=remedy)
    context.attempt.warn(notes.warnings)
    for decision in notes.decisions:
        message = f"{decision.field}: {decision.value} ({decision.reason})."
        context.attempt.record_event("batch_prediction.decided", message, decision.model_dump(mode="json"))
    has_files = next(file.blocks(0)).files is not None
    return FileSource(file, config["keep"], modality, has_files=has_files)


def _answer_all(
    context: JobContext, source: Source, answerer: Answerer, columns: Columns, parts: Parts, start: int
) -> None:
    """Answer the rows from place `start` on; what is answered is kept before the worker lets go of the job."""
    progress = _Progress(context, source.rows, "predicting", start)
    for block in source.blocks(start) if start < source.rows else ():
        answers = _answers(answerer, block)
        if answers.errors and context.job.config["on_error"] == "refuse":
            raise _refusal(block, answers)
        _count(parts, block, answers)
        parts.add(columns.batch(block.numbers, block.fixed, block.kept, answers), _counts(answers))
        if parts.is_due or context.draining.is_set():
            parts.save()
        context.stop_if_draining()
        progress.tell(block.stop)
    parts.save()
    if parts.counts.rows != source.rows:
        msg = f"the file has {source.rows} rows and {parts.counts.rows} were answered"
        raise RuntimeError(msg)


def _answers(answerer: Answerer, block: SourceBlock) -> Answers:
    if block.inputs is None:
        assert block.stored is not None
        return answerer.answer_stored(block.stored)
    return answerer.answer(block.inputs, block.errors, block.stored)


def _refusal(block: SourceBlock, answers: Answers) -> DatasetError:
    """Return the error of a job that is to fail where a row cannot be read."""
    errors = [RowError(("file",), msg, block.numbers[place]) for place, msg in sorted(answers.errors.items())]
    message = f'row {errors[0].row}: {errors[0].msg}; on_error="report" answers the other rows'
    return DatasetError(Code.BAD_ROW, message, errors[:MAX_WARNING_ROWS])


def _counts(answers: Answers) -> Counts:
    answered = len(answers.places)
    doubtful = len({doubt.place for doubt in answers.doubts} - answers.errors.keys())
    rows = answered + len(answers.errors)
    return Counts(rows=rows, answered=answered, unreadable=len(answers.errors), doubtful=doubtful)


def _count(parts: Parts, block: SourceBlock, answers: Answers) -> None:
    """Add a block's doubts and errors to the tally, each row once for a code."""
    by_code: dict[WarningCode, dict[int, None]] = {}
    subjects: dict[WarningCode, dict[str, str]] = {}
    for doubt in sorted(answers.doubts, key=lambda doubt: doubt.place):
        by_code.setdefault(doubt.code, {})[block.numbers[doubt.place]] = None
        subjects.setdefault(doubt.code, {}).setdefault(doubt.subject, doubt.words)
    for code, rows in by_code.items():
        parts.tally.add(code, rows, subjects[code])
    if answers.errors:
        errors = dict(sorted(answers.errors.items()))
        numbers = [block.numbers[place] for place in errors]
        parts.tally.add(WarningCode.UNREADABLE_ROWS, numbers, {sentence: sentence for sentence in errors.values()})


def _rows_not_in(dataset: DatasetRow) -> dict[str, Any]:
    """Return how many rows of a dataset's file are not in it, and why."""
    rows = (dataset.report or {}).get("rows", {})
    removed = {reason: count for reason, count in rows.get("removed", {}).items() if count}
    return {"rows_not_in_dataset": sum(removed.values()), "why_not_in_dataset": removed}


def _warning_of_removed(dataset: DatasetRow, removed: dict[str, Any]) -> WarningItem:
    reasons = ", ".join(f"{count} {reason}" for reason, count in removed["why_not_in_dataset"].items())
    removals = (dataset.report or {}).get("removals", [])
    return WarningItem(
        code=WarningCode.ROWS_NOT_IN_DATASET,
        message=f"{removed['rows_not_in_dataset']} rows of the file are not in the dataset, and not in the results: "
        f"{reasons}; the dataset's report lists them",
        count=removed["rows_not_in_dataset"],
        rows=tuple(sorted(entry["row"] for entry in removals)[:MAX_WARNING_ROWS]),
        remedy="POST /v1/batch_predictions answers every row of a file",
    )


class _Progress:
    """Reports rows, at most twice a second; raises `DrainedError` where the worker is to let go of the job."""

    def __init__(self, context: JobContext, total: int, phase: str, start: int = 0) -> None:
        self._context, self._total, self._phase, self._start = context, total, phase, start
        self._began = self._reported = time.monotonic()

    def tell(self, rows: int) -> None:
        """Report that so many rows are done."""
        now = time.monotonic()
        if self._phase == "writing":
            self._context.stop_if_draining()
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            eta = (now - self._began) / max(1, rows - self._start) * (self._total - rows)
            self._context.attempt.report(progress_of(rows, self._total, 0, eta), [], self._phase)
