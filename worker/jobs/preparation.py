"""A dataset's preparation: the uploaded file becomes the canonical form and a report."""

import json
import os
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy.orm import Session

from app.artifacts import fetch_blob, link_files
from app.datasets import repository
from app.datasets.access import is_input
from app.datasets.canonical.fingerprints import OWN_FILES
from app.datasets.canonical.rows import open_inputs
from app.datasets.canonical.writer import FORMAT
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames.decodings import DECODINGS, EarlierImages
from app.datasets.frames.digests import digest_labels
from app.datasets.limits import Limits
from app.datasets.opening import link_dataset
from app.datasets.options import PrepareOptions
from app.datasets.preparation import Earlier, Prepared, prepare
from app.datasets.registered.sources import fetch_stored
from app.datasets.repository import DatasetRow
from app.datasets.shard_cache import Files
from app.datasets.splits.earlier import EarlierDataset
from app.errors import CorruptError
from app.jobs import lease as leases
from app.ml.data.stored_rows import InputRows, ShardedRows
from app.ml.spec import DataSpec
from app.settings import Settings
from worker.attempt.attempt import Attempt
from worker.attempt.context import JobContext

KEPT = ("digests.npy", "split.npy", "rows.npy")
_DECODED = (DECODINGS, *OWN_FILES, "split.npy")
_REPORT_SECONDS = 0.5


def run(context: JobContext) -> None:
    """Prepare the job's dataset; a user's fault is recorded row by row in the dataset, too."""
    attempt, dataset_id = context.attempt, context.job.dataset_id
    dataset = attempt.commit_with_retry(lambda session: repository.get(session, dataset_id))
    options = PrepareOptions.model_validate(dataset.options)
    attempt.enter("running", "reading", "Preparing the dataset.")
    try:
        source = fetch_stored(attempt.artifacts, dataset, context.settings, context.folder)
        splits = _earlier_splits(attempt, dataset, options)
        prepared, folder = _prepare(context, source, dataset.filename, options, splits)
    except DatasetError as error:
        _record(attempt, dataset.id, error)
        raise
    _publish(attempt, dataset.id, prepared, folder)


def _prepare(
    context: JobContext, source: Path, filename: str, options: PrepareOptions, splits: EarlierDataset | None
) -> tuple[Prepared, Path]:
    """Prepare a file into a folder. Images of an earlier dataset whose stored bytes are damaged are decoded anew."""
    settings = context.settings
    limits = Limits(canonical_bytes=settings.max_prepared_bytes, shard_bytes=settings.shard_bytes)
    progress, processes = _Progress(context), _processes(settings)
    try:
        folder, images = _new_folder(context, "canonical"), _earlier_images(context, options)
        earlier = Earlier(splits, images)
        return prepare(source, filename, options, folder, limits, progress, earlier, processes), folder
    except CorruptError as error:
        message = f"All images are decoded anew, since those of the dataset before cannot be taken over. {error}"
        context.attempt.record_event("dataset.earlier_damaged", message, {}, "warning")
    folder = _new_folder(context, "decoded-anew")
    return prepare(source, filename, options, folder, limits, progress, Earlier(splits), processes), folder


def _new_folder(context: JobContext, name: str) -> Path:
    folder = context.folder / name
    folder.mkdir()
    return folder


def _processes(settings: Settings) -> int:
    """Return how many processes may work on parts: as many as the trainer may use cores."""
    return settings.threads or len(os.sched_getaffinity(0))


def _earlier_images(context: JobContext, options: PrepareOptions) -> EarlierImages | None:
    """Open the images of the dataset that this is a version of, or else of that whose splits it keeps.

    None: it has none that were decoded, an earlier release prepared it, or it is gone; then all are decoded.
    """
    for dataset_id in (context.job.config.get("version_of"), options.same_splits_as):
        row = context.attempt.commit_with_retry(partial(_find, context.job.project_id, dataset_id))
        files = {} if row is None else row.files or {}
        if row is not None and {*_DECODED} <= set(files):
            return _open_images(context, row, files)
    return None


def _find(project_id: str, dataset_id: str | None, session: Session) -> DatasetRow | None:
    return None if dataset_id is None else repository.find(session, project_id, dataset_id)


def _open_images(context: JobContext, row: DatasetRow, files: Files) -> EarlierImages:
    """Open the keys and fingerprints of a dataset's images; the images themselves are fetched when they are read."""
    store, folder, spec = context.attempt.artifacts, context.folder / "earlier", DataSpec.model_validate(row.spec)
    link_files(store, {name: files[name] for name in _DECODED}, folder)
    keys, digests, sketches, _ = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in _DECODED)

    def open_rows() -> InputRows | ShardedRows:
        inputs = {name: blob for name, blob in files.items() if is_input(name)}
        shards = link_dataset(store, inputs, folder, context.settings.shard_cache_bytes)
        return open_inputs(folder, spec, shards)

    return EarlierImages(row.id, keys, digests, sketches, open_rows)


def _earlier_splits(attempt: Attempt, dataset: DatasetRow, options: PrepareOptions) -> EarlierDataset | None:
    """Open the digests and splits of the dataset whose splits are to be kept; of the same source its rows, too."""
    dataset_id = options.same_splits_as
    if dataset_id is None:
        return None
    row = attempt.commit_with_retry(lambda session: repository.find(session, dataset.project_id, dataset_id))
    files = {} if row is None else row.files or {}
    if row is None or not {*KEPT} <= set(files):
        message = f"the dataset {dataset_id}, whose splits are to be kept, is gone; leave same_splits_as out"
        raise DatasetError(Code.BAD_OPTION, message, [RowError(("same_splits_as",), message)])
    earlier_options = PrepareOptions.model_validate(row.options)
    same = row.source_sha256 == dataset.source_sha256 and _numbering(earlier_options) == _numbering(options)
    paths = {name: fetch_blob(attempt.artifacts, files[name]["sha256"]) for name in (*KEPT, "manifest.json")}
    digests, split, rows = (np.load(paths[name], mmap_mode="r", allow_pickle=False) for name in KEPT)
    manifest = json.loads(paths["manifest.json"].read_text(encoding="utf-8"))
    spec = DataSpec.model_validate(manifest["spec"])
    labels = None
    if "targets.npy" in files:
        targets_path = fetch_blob(attempt.artifacts, files["targets.npy"]["sha256"])
        targets = np.load(targets_path, allow_pickle=False)
        labels = digest_labels(targets, spec.targets)
    rounded = manifest["format"] < FORMAT
    return EarlierDataset(dataset_id, digests, split, rows if same else None, labels, rounded, spec.usual_splits)


def _numbering(options: PrepareOptions) -> tuple[object, ...]:
    """What the numbers of a source's rows depend on."""
    return options.modality, options.text, options.series


class _Progress:
    """Reports fractions, at most twice a second; raises `DrainedError` where the worker is to let go of the job."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._reported = time.monotonic()

    def __call__(self, fraction: float, phase: str) -> None:
        self._context.stop_if_draining()
        if time.monotonic() - self._reported < _REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        steps = {"step": round(100 * fraction), "total_steps": 100, "epoch": 0}
        self._context.attempt.report({"fraction": fraction, **steps, "eta_seconds": None}, [], phase[:50])


def _record(attempt: Attempt, dataset_id: str, error: DatasetError) -> None:
    answer = {"code": str(error.code), "message": error.message, "errors": [asdict(item) for item in error.errors]}

    def record(session: Session) -> None:
        leases.hold(session, attempt.lease)
        repository.save_error(session, dataset_id, answer)

    attempt.commit_with_retry(record)


def _publish(attempt: Attempt, dataset_id: str, prepared: Prepared, out: Path) -> None:
    attempt.enter("finalizing", "storing", "Storing the prepared dataset.")
    attempt.warn(prepared.report.warnings)
    files = attempt.keep(out, cached=not prepared.spec.shards)  # shards may be more than this disk holds

    def publish(session: Session) -> None:
        spec, report = (part.model_dump(mode="json") for part in (prepared.spec, prepared.report))
        repository.save_prepared(session, dataset_id, spec=spec, report=report, files=files)

    attempt.report({"fraction": 1.0, "step": 100, "total_steps": 100, "epoch": 0, "eta_seconds": 0.0}, [], "storing")
    attempt.succeed("The dataset is ready.", publish)
