"""From an uploaded file to a prepared dataset: read, arrange, clean, split, write, profile."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from app.datasets.canonical import write_inputs, write_rest
from app.datasets.cleaning import Cleaned, clean, digest_rows
from app.datasets.errors import Code, DatasetError
from app.datasets.frame import Bools, Bytes, Context, Floats, Frame, Inputs, Loaded, Notes, Progress
from app.datasets.infer import arrange
from app.datasets.options import Limits, PrepareOptions
from app.datasets.profile import column_profiles, image_profile, series_profile, target_profiles, text_profile
from app.datasets.readers import read
from app.datasets.report import REASONS, Report, RowCounts, SourceInfo
from app.datasets.splits import check_given, split_groups, split_rows
from app.datasets.targets import notice_untrained, settle_targets
from app.ml.spec import SPLITS, DataSpec, Split


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
) -> Prepared:
    """Turn the file `source` into the canonical form in the empty folder `out`.

    The format is told by content; `filename_hint` is the user's name for the file and only shown in the report.
    `progress` hears fractions of 0 .. 1 and may raise to stop the work.

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
        digests = digest_rows(frame.inputs)
        cleaned = clean(frame, digests, loaded, options, limits.removals_listed, notes)
        inputs = _write_kept(frame.inputs, cleaned.keep, loaded, out)
        frame = settle_targets(_kept(frame, cleaned.keep, inputs), notes)
        split = _split(frame, digests[cleaned.keep], options, notes)
        notice_untrained(frame, split, notes)
        spec = _spec(frame, split, notes)
        progress(0.9, "writing")
        files = write_rest(frame, split, spec, out)
        origin = SourceInfo(name=filename_hint, format=loaded.format, bytes=source.stat().st_size)
        report = _report(origin, loaded, frame, cleaned, split, notes)
    progress(1.0, "ready")
    return Prepared(spec, report, files)


def _write_kept(inputs: Inputs, keep: Bools, loaded: Loaded, out: Path) -> Inputs:
    if not keep.any():
        message = f"none of the {loaded.read} rows is left: they are corrupt, lack a target or contradict each other"
        raise DatasetError(Code.EMPTY_DATASET, message)
    return write_inputs(inputs, keep, out)


def _kept(frame: Frame, keep: Bools, inputs: Inputs) -> Frame:
    return replace(
        frame,
        inputs=inputs,
        targets=frame.targets[keep],
        rows=frame.rows[keep].astype(np.int64),
        given_split=None if frame.given_split is None else frame.given_split[keep],
        groups=None if frame.groups is None else frame.groups[keep],
        times=None if frame.times is None else frame.times[keep],
    )


def _split(frame: Frame, digests: npt.NDArray[np.uint64], options: PrepareOptions, notes: Notes) -> Bytes:
    if frame.given_split is not None:
        return check_given(frame.given_split, notes)
    if frame.groups is not None:
        notes.decide("splits", "by group", "rows of one group stay in one split")
        return split_groups(frame.groups, options)
    strata: Floats | None = None
    for t, spec in enumerate(frame.target_specs):
        if spec.type == "category" and strata is None:
            strata = frame.targets[:, t]
            notes.decide("splits", f"stratified by {spec.name}", "every split holds the classes in proportion")
    labelled = ~np.isnan(frame.targets).all(axis=1) if frame.target_specs else np.ones(len(digests), dtype=np.bool_)
    split = np.zeros(len(digests), dtype=np.uint8)  # what nobody labelled can only be learned from
    split[labelled] = split_rows(digests[labelled], None if strata is None else strata[labelled], options)
    return split


def _spec(frame: Frame, split: Bytes, notes: Notes) -> DataSpec:
    rows = _per_split(split)
    for name, count in rows.items():
        if not count:
            notes.notice(f"split {name} holds no rows")
    present = ~np.isnan(frame.targets)
    return DataSpec(
        modality=frame.modality,
        shape=tuple(int(n) for n in frame.inputs.shape[1:]),
        value_scale=frame.value_scale,
        columns=frame.columns,
        targets=frame.target_specs,
        rows=rows,
        labelled={spec.name: _per_split(split[present[:, t]]) for t, spec in enumerate(frame.target_specs)},
    )


def _per_split(split: Bytes) -> dict[Split, int]:
    counts = np.bincount(split, minlength=len(SPLITS))
    return {name: int(count) for name, count in zip(SPLITS, counts, strict=True)}


def _report(origin: SourceInfo, loaded: Loaded, frame: Frame, cleaned: Cleaned, split: Bytes, notes: Notes) -> Report:
    return Report(
        source=origin,
        modality=frame.modality,
        rows=RowCounts(
            read=loaded.read, kept=len(frame.rows), removed={reason: cleaned.counts[reason] for reason in REASONS}
        ),
        removals=tuple(cleaned.removals),
        splits=_per_split(split),
        columns=column_profiles(frame),
        targets=target_profiles(frame.targets, frame.target_specs, split),
        image=image_profile(frame),
        text=text_profile(frame),
        series=series_profile(frame),
        decisions=tuple(notes.decisions),
        notices=tuple(notes.notices),
    )
