"""Previews of augmentations on some rows of a dataset. Nothing is stored, and no training is touched."""

import itertools
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from app.datasets.access import find_dataset
from app.datasets.canonical.rows import as_png
from app.datasets.opening import link_dataset
from app.datasets.service import prepared_files, scratch_folder
from app.dependencies import Services
from app.errors import ErrorItem, UnprocessableError
from app.ml.configs.learning import Augmentations
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.fields import Integer
from app.ml.interfaces import Batch, Modality, ResolutionContext, Rows
from app.ml.interfaces.tokenizer import MASK, Tokenizer
from app.ml.kinds.modalities.text import TextModality
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.resolution.network import check_augmentations, resolve_preprocessing
from app.ml.spec import DataSpec, Frozen

MAX_ROWS = 16
_MAX_FITTED_ROWS = 2000
_GENERATOR_LOCK = threading.Lock()  # torch has one global generator for the whole process


class PreviewRequest(Frozen):
    """Augmentations to preview, and the rows to preview them on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"augmentations": [{"kind": "noise"}], "limit": 2}]})

    augmentations: Augmentations = Field(description="As in a job: applied in order.")
    rows: Annotated[tuple[Annotated[Integer, Field(ge=0, lt=2**53)], ...], Field(max_length=MAX_ROWS)] = Field(
        (), description="Numbers of rows as `GET .../rows` returns them; none: the first of the train split."
    )
    limit: Integer = Field(8, ge=1, le=MAX_ROWS, description="How many rows, where none are named.")
    seed: Integer = Field(0, ge=0, le=2**63 - 1, description="Starts every random choice: the same gives the same.")


class MixedWith(BaseModel):
    """The row that a row was mixed with."""

    row: int = Field(description="Number of the other row.")
    share: float = Field(description="Weight of the row's own labels; the other row's labels have the rest, 1 - share.")


class PreviewedRow(BaseModel):
    """A row as the network gets it, without and with the augmentations."""

    row: int
    before: Any = Field(
        description="Images: a PNG as a data URL. Tables: standardised features. Series: a list of steps, each with a "
        "standardised number per channel, null where nothing was observed. Texts: the text, with [MASK] for a mask."
    )
    after: Any
    mix: MixedWith | None


class Preview(BaseModel):
    """Some rows before and after the augmentations; mixing ones mix these rows with each other alone."""

    object: Literal["preview"] = "preview"
    modality: str
    data: list[PreviewedRow]


def preview(state: Services, project_id: str, dataset_id: str, request: PreviewRequest) -> Preview:
    """Augment some rows. The transaction ends before the files are opened.

    Raises:
        NotFoundError: there is no such dataset.
        ConflictError: it is not ready.
        UnprocessableError: an augmentation is of another modality, or the dataset has no such row.
    """
    with state.database.reading() as session:
        row = find_dataset(session, project_id, dataset_id)
    files = prepared_files(row, list(row.files or ()))
    spec = DataSpec.model_validate(row.spec)
    _check(request, spec)
    with tempfile.TemporaryDirectory(dir=scratch_folder(state)) as scratch:
        folder = Path(scratch)
        space = state.settings.shard_cache_bytes
        data = ArrayData.open(folder, link_dataset(state.artifacts, files, folder, space, reads_some=True))
        numbers = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
        return _preview(data, numbers, _positions(request, data, numbers), request)


def _check(request: PreviewRequest, spec: DataSpec) -> None:
    context = ResolutionContext(spec.modality, spec.shape, spec.rows["train"])
    try:
        check_augmentations(request.augmentations, context, ("augmentations",))
    except ConfigError as error:
        item = ErrorItem(loc=["body", *error.loc], msg=error.msg)
        raise UnprocessableError(str(error), code="config_does_not_fit", errors=[item]) from None


def _positions(request: PreviewRequest, data: ArrayData, numbers: Rows) -> Rows:
    """Return the positions in the dataset of the requested rows, (n,); `numbers` (N,) are those of all rows."""
    if not request.rows:
        return data.positions("train")[: request.limit]
    matches = [np.flatnonzero(numbers == number)[:1] for number in request.rows]
    missing = [index for index, match in enumerate(matches) if not len(match)]
    if missing:
        items = [ErrorItem(loc=["body", "rows", index], msg="the dataset has no such row") for index in missing]
        msg = "rows: the dataset has no such row; its rows tell their numbers"
        raise UnprocessableError(msg, code="no_such_row", errors=items)
    return np.concatenate(matches)


def _preview(data: ArrayData, numbers: Rows, positions: Rows, request: PreviewRequest) -> Preview:
    modality = _fit_modality(data)
    batch = Batch(data.encoded(positions, modality))
    augmented = _augment(batch, request)
    before, after = _to_json(batch.inputs, modality), _to_json(augmented.inputs, modality)
    mixes = _mixes(augmented, numbers[positions])
    rows = [
        PreviewedRow(row=int(numbers[position]), before=before[i], after=after[i], mix=mixes[i])
        for i, position in enumerate(positions)
    ]
    return Preview(modality=data.spec.modality, data=rows)


def _fit_modality(data: ArrayData) -> Modality:
    """Return the default preprocessing, fitted on at most 2,000 train rows, which is close enough for a preview."""
    context = ResolutionContext(data.spec.modality, data.spec.shape, data.spec.rows["train"])
    chosen, _ = resolve_preprocessing("auto", context)
    kind = kinds(FAMILIES["modalities"])[data.spec.modality]
    assert issubclass(kind, Modality)
    return kind.fit(data.inputs[data.positions("train")[:_MAX_FITTED_ROWS]], data.spec, chosen)


def _augment(batch: Batch, request: PreviewRequest) -> Batch:
    """Apply the augmentations under the request's seed; the process's own generator stays as it is."""
    with _GENERATOR_LOCK, torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(request.seed)
        for augmentation in request.augmentations:
            batch = augmentation.apply(batch)
    return batch


def _mixes(batch: Batch, numbers: Rows) -> list[MixedWith | None]:
    """Return what each row was mixed with; `numbers` (B,) are those of the rows of the batch."""
    if batch.mix is None:
        return [None] * len(batch)
    pairs = zip(batch.mix.order.tolist(), batch.mix.share.tolist(), strict=True)
    return [MixedWith(row=int(numbers[other]), share=share) for other, share in pairs]


def _to_json(inputs: Tensor, modality: Modality) -> list[Any]:
    """Return encoded rows (B, ...) as JSON."""
    if isinstance(modality, TextModality):
        return [_text(row, modality.codec) for row in inputs.tolist()]
    match modality.kind:
        case "image":
            pixels = (inputs * 255).round().byte().permute(0, 2, 3, 1)
            return [as_png(image) for image in pixels.numpy()]
        case "series":
            return [_steps(series) for series in inputs]
        case _:
            return inputs.tolist()


def _text(codes: list[int], codec: Tokenizer) -> str:
    """Return codes (T,) as text, with [MASK] for every mask."""
    runs = itertools.groupby(codes, key=lambda code: code == MASK)
    return "".join("[MASK]" * len(list(run)) if masked else codec.decode(list(run)) for masked, run in runs)


def _steps(series: Tensor) -> list[list[float | None]]:
    """Return a series (C + 1, T), whose last channel says what was observed, as steps up to the last observed one.

    A step that was not observed is null in every channel.
    """
    *channels, observed = series.tolist()
    last = max((step for step, flag in enumerate(observed) if flag), default=-1)
    return [[channel[step] if observed[step] else None for channel in channels] for step in range(last + 1)]
