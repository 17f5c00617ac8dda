"""From an uploaded file to a prepared dataset: read, arrange, clean, split, write, profile."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from app.datasets.canonical.writer import write_inputs, write_rest
from app.datasets.cleaning import clean_columns, clean_rows
from app.datasets.cleaning.state import Work
from app.datasets.columns.encoding import arrange
from app.datasets.columns.profiles import column_profiles, image_profile, series_profile, target_profiles, text_profile
from app.datasets.columns.targets import notice_untrained, settle_targets
from app.datasets.context import Context, Progress
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Bytes, Frame
from app.datasets.likeness import Pairs
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.readers import read
from app.datasets.report import REASONS, Notes, Report, RowCounts, SourceInfo
from app.datasets.splits.assignment import assign_splits
from app.datasets.splits.leakage import Earlier, Prints, leaks_between_splits, write_prints
from app.ml.data.spec import SPLITS, DataSpec, Split


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared dataset: what learning needs to know, what the user wants to know, and the files written."""

    spec: DataSpec
    report: Report
    files: list[str]


@np.errstate(invalid="ignore")  # a stranger's floats may hold signalling NaNs, of which every cast would warn
def prepare(
    source: Path,
    filename_hint: str,
    options: PrepareOptions,
    out: Path,
    limits: Limits,
    progress: Progress,
    earlier: Earlier | None = None,
) -> Prepared:
    """Turn the file `source` into the canonical form in the empty folder `out`.

    The format is told by content; `filename_hint` is the user's name for the file and only shown in the report.
    `progress` hears fractions of 0 .. 1 and may raise to stop the work. Rows that are in `earlier` keep its splits.

    Raises:
        DatasetError: the file or the options are at fault; nothing usable is left in `out`.
    """
    notes = Notes()
    with TemporaryDirectory(dir=out, prefix=".work-") as folder:
        context = Context(Path(folder), options, limits, notes, progress)
        progress(0.0, "reading")
        loaded = read(source, context)
        progress(0.5, "finding out what each column holds")
        frame = arrange(loaded, context)
        progress(0.7, "cleaning")
        work = Work(frame, loaded, notes, context.work, limits.removals_listed)
        steps = clean_rows(work, options.cleaning, duplicates=options.duplicates, unlabelled=options.unlabelled)
        frame = settle_targets(_kept(work), notes)
        split = assign_splits(frame, work.digests()[work.keep], options, notes, earlier)
        notice_untrained(frame, split, notes)
        clean_columns(work, steps, split)
        progress(0.9, "writing")
        frame = replace(frame, columns=work.frame.columns, inputs=write_inputs(work.frame.inputs, work.keep, out))
        prints = _prints(work, frame, split)
        spec = _spec(frame, split, options, notes)
        files = [*write_rest(frame, split, spec, out), *write_prints(prints, out)]
        origin = SourceInfo(name=filename_hint, format=loaded.format, bytes=source.stat().st_size)
        report = _report(origin, work, frame, prints, notes)
    progress(1.0, "ready")
    return Prepared(spec, report, files)


def _kept(work: Work) -> Frame:
    """Return the rows that stay, but for their inputs, which are still to be written."""
    frame, keep = work.frame, work.keep
    if not keep.any():
        message = f"none of the {work.loaded.read} rows is left: "
        message += "they are corrupt, lack a target, contradict each other, or the steps of cleaning remove them"
        raise DatasetError(Code.EMPTY_DATASET, message)
    return replace(
        frame,
        targets=frame.targets[keep],
        rows=frame.rows[keep].astype(np.int64),
        given_split=None if frame.given_split is None else frame.given_split[keep],
        groups=None if frame.groups is None else frame.groups[keep],
        times=None if frame.times is None else frame.times[keep],
    )


def _prints(work: Work, frame: Frame, split: Bytes) -> Prints:
    keep = work.keep
    return Prints(frame.modality, work.digests()[keep], work.sketches()[keep], split, frame.rows)


def _near_pairs(work: Work) -> Pairs:
    """Return the pairs of nearly equal rows as places among the kept ones."""
    if work.frame.windows or work.frame.modality in {"table", "series"}:
        return np.empty((0, 2), dtype=np.int64)
    return np.cumsum(work.keep)[work.pairs()] - 1


def _spec(frame: Frame, split: Bytes, options: PrepareOptions, notes: Notes) -> DataSpec:
    rows = _per_split(split)
    for name, count in rows.items():
        if not count:
            notes.notice(f"split {name} holds no rows")
    present = ~np.isnan(frame.targets)
    return DataSpec(
        modality=frame.modality,
        shape=tuple(int(n) for n in frame.inputs.shape[1:]),
        value_scale=frame.value_scale,
        resize=options.image.resize if options.image else "stretch",
        columns=frame.columns,
        targets=frame.target_specs,
        continuous=frame.windows,
        rows=rows,
        labelled={spec.name: _per_split(split[present[:, t]]) for t, spec in enumerate(frame.target_specs)},
    )


def _per_split(split: Bytes) -> dict[Split, int]:
    counts = np.bincount(split, minlength=len(SPLITS))
    return {name: int(count) for name, count in zip(SPLITS, counts, strict=True)}


def _report(origin: SourceInfo, work: Work, frame: Frame, prints: Prints, notes: Notes) -> Report:
    return Report(
        source=origin,
        modality=frame.modality,
        rows=RowCounts(
            read=work.loaded.read, kept=len(frame.rows), removed={reason: work.counts[reason] for reason in REASONS}
        ),
        removals=tuple(work.removals),
        splits=_per_split(prints.split),
        columns=column_profiles(frame),
        targets=target_profiles(frame.targets, frame.target_specs, prints.split),
        image=image_profile(frame),
        text=text_profile(frame),
        series=series_profile(frame),
        decisions=tuple(notes.decisions),
        notices=tuple(notes.notices),
        cleaning=tuple(work.steps),
        leaks=leaks_between_splits(prints, _near_pairs(work)),
    )
