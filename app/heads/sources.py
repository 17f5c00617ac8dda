"""What heads are fitted on: the rows of a dataset, or those of a request."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.datasets.access import find_dataset, is_input, ready_spec, rows_digest
from app.datasets.opening import link_dataset
from app.datasets.report import Notes
from app.datasets.soundness import warn_of_classes
from app.dependencies import Services
from app.errors import ErrorItem, UnprocessableError
from app.heads.labels import encode_labels
from app.heads.schemas import DEFAULT_TARGET, HeadsRequest
from app.ml.data.arrays import ArrayData
from app.ml.fitting.feature_cache import FeatureCache
from app.ml.fitting.features import GetOrCompute, uncached
from app.ml.fitting.unknown_values import check_unknown_values
from app.ml.interfaces import Rows
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities import AnyModality
from app.ml.models.predictor import Predictor
from app.ml.spec import MAX_WARNING_ROWS, SPLITS, DataSpec, Decision, Split, WarningCode, WarningItem
from app.predictions.service import counted, in_turns

_FILES = ("manifest.json", "targets.npy", "split.npy")
_TRAIN = SPLITS.index("train")


@dataclass(frozen=True, slots=True)
class FoundDataset:
    """A dataset of the project as it was when the request came."""

    id: str
    name: str
    spec: DataSpec
    files: Mapping[str, Any]
    digest: str  # of the stored rows
    warnings: tuple[WarningItem, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Rows and labels, the preprocessing that reads them, what is kept of their features, and what is said of them."""

    data: ArrayData
    modality: AnyModality
    cache: GetOrCompute
    warnings: tuple[WarningItem, ...]


def look_up_dataset(state: Services, project_id: str, ref: str) -> FoundDataset:
    """Return a ready dataset.

    Raises:
        NotFoundError: there is none of this id or name.
        ConflictError: it is not ready.
    """
    with state.database.reading() as session:
        row = find_dataset(session, project_id, ref)
        spec = ready_spec(row)
        warnings = tuple(WarningItem.model_validate(item) for item in (row.report or {}).get("warnings", []))
        return FoundDataset(row.id, row.name, spec, row.files or {}, rows_digest(row), warnings)


def open_dataset(state: Services, dataset: FoundDataset, predictor: Predictor, folder: Path) -> Source:
    """Link a dataset that fits the model into a folder, and map it. Raises `ConfigError` where hardly a value fits."""
    files = {name: blob for name, blob in dataset.files.items() if name in _FILES or is_input(name)}
    space = state.settings.shard_cache_bytes
    data = ArrayData.open(folder, link_dataset(state.artifacts, files, folder, space, reads_some=True))
    modality = predictor.manifest.modality.adapted_to(data.to_fit(), data.spec)
    unknown = check_unknown_values(modality, data)
    settings = state.settings
    cache = FeatureCache(settings.feature_cache, settings.feature_cache_bytes, dataset.digest)
    return Source(data, modality, cache, (*dataset.warnings, *modality.warnings, *unknown))


class RequestRows:
    """The rows of a request and their labels, which are read before the rows are."""

    def __init__(self, request: HeadsRequest, modality: AnyModality) -> None:
        assert request.rows is not None
        accepts = {name: head.accepts for head in request.heads or () for name in head.targets}
        names = request.targets or ((DEFAULT_TARGET,) if request.labels is not None else ())
        rows, columns = _separated(request, names, modality)
        place = "labels" if request.labels is not None else "rows"
        encoded = [encode_labels(name, labels, accepts.get(name), place) for name, labels in columns.items()]
        self.targets = [target for each in encoded for target in each.targets]
        table = np.stack([values for each in encoded for values in each.values], axis=1)  # (N, T)
        self._labelled = ~np.isnan(table).all(1)
        self._unlabelled = np.flatnonzero(~self._labelled)
        self._rows = rows
        self._values = table[self._labelled]
        self._decisions = [each for each in encoded if each.targets[0].name not in accepts]
        self.spec = _spec(modality, self.targets, self._values)

    @property
    def decisions(self) -> list[Decision]:
        """What the targets were taken for."""
        return [each.decision for each in self._decisions]

    def read(self, state: Services, project_id: str, predictor: Predictor, request: HeadsRequest) -> Source:
        """Read all rows as predictions do. Raises UnprocessableError for rows that cannot be read."""
        doubts = Doubts()
        with _of_rows():
            blocks = list(in_turns(state, project_id, predictor, self._rows, doubts, request.unknown))
        stored: Rows = np.concatenate(blocks)[self._labelled]
        split = np.full(len(stored), _TRAIN, np.uint8)
        data = ArrayData(self.spec, stored, self._values, split)
        warnings = (*self._warnings(), *counted(state, doubts.warnings()))
        return Source(data, predictor.manifest.modality, uncached, warnings)

    def _warnings(self) -> list[WarningItem]:
        notes, unlabelled = Notes(), self._unlabelled
        if len(unlabelled):
            notes.warn(
                WarningCode.UNLABELLED_REMOVED,
                f"{len(unlabelled)} of {len(self._rows)} rows have no label, and were left out",
                count=len(unlabelled),
                rows=unlabelled[:MAX_WARNING_ROWS],
                remedy="label them, or leave them out",
            )
        warn_of_classes(self._values, tuple(self.targets), notes)
        return notes.warnings


def _spec(modality: AnyModality, targets: list[Any], values: Rows) -> DataSpec:
    known = ~np.isnan(values)
    rows: dict[Split, int] = {"train": len(values), "validation": 0, "test": 0}
    labelled: dict[str, dict[Split, int]] = {
        target.name: {**rows, "train": int(known[:, index].sum())} for index, target in enumerate(targets)
    }
    class_rows = {
        target.name: tuple(
            np.bincount(values[known[:, index], index].astype(np.int64), minlength=len(target.classes)).tolist()
        )
        for index, target in enumerate(targets)
        if target.type == "category"
    }
    counts = {"targets": tuple(targets), "rows": rows, "labelled": labelled, "class_rows": class_rows}
    return modality.spec().model_copy(update=counts)


def _separated(
    request: HeadsRequest, names: tuple[str, ...], modality: AnyModality
) -> tuple[list[Any], dict[str, list[Any]]]:
    """Return the rows without their labels, and the labels of each target."""
    assert request.rows is not None
    if request.labels is not None:
        if len(names) > 1:
            msg = "labels are those of one target: for several leave this out, and let each row hold them by name"
            raise _refusal(("labels",), msg)
        return request.rows, {names[0]: request.labels}
    if not names:
        msg = "the rows have no labels: give labels, one a row; or name the target under which each row holds its own"
        raise _refusal(("labels",), msg)
    taken = next((name for name in names if name in modality.keys), None)
    if taken is not None:
        raise _refusal(("target",), f"{taken!r} is an input of the model: give the labels under another name")
    for index, row in enumerate(request.rows):
        if not isinstance(row, dict):
            msg = f"the row is no object that holds {names[0]!r}: give its label there, or give labels, one a row"
            raise _refusal(("rows", index), msg)
    rows = [{key: value for key, value in row.items() if key not in names} for row in request.rows]
    return rows, {name: [row.get(name) for row in request.rows] for name in names}


@contextmanager
def _of_rows() -> Iterator[None]:
    """Name rows that cannot be read by their place in this request instead of in one for predictions."""
    try:
        yield
    except UnprocessableError as error:
        items = [ErrorItem(loc=["body", "rows", *item.loc[1:]], msg=item.msg) for item in error.errors or []]
        if not items:
            raise
        place = ".".join(map(str, items[0].loc[1:]))
        msg = f"{place}: {items[0].msg}"
        raise UnprocessableError(msg, code=error.code, errors=items) from None


def _refusal(loc: tuple[str | int, ...], msg: str) -> UnprocessableError:
    place = ".".join(map(str, loc))
    return UnprocessableError(f"{place}: {msg}", code="invalid_labels", errors=[ErrorItem(loc=["body", *loc], msg=msg)])
