"""Answers of a model for a block of rows, of which some may not be readable; nothing here knows files or jobs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from app.jobs.kinds.batch_prediction import Output
from app.ml.data.chunks import each_block, rows_per_block
from app.ml.errors import InputError, Location
from app.ml.interfaces import Rows
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.decoding import with_clean_keys
from app.ml.models.bundle import Bundle
from app.ml.spec import WarningCode

_PICTURES_AT_ONCE = 4  # each may have a quarter of the pixels that are decoded together
_TOO_LARGE = "its values are too large for this model"


@dataclass(frozen=True, slots=True)
class RowDoubt:
    """What is doubtful of the row at a place of its block; `subject` is a column, `words` name it with the reason."""

    place: int
    code: WarningCode
    subject: str
    words: str


@dataclass(slots=True)
class Answers:
    """Answers for a block: of rows at `places` (m,) predictions (m) and embeddings (m, F); of the others errors."""

    places: list[int] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    embeddings: NDArray[np.float32] | None = None
    errors: dict[int, str] = field(default_factory=dict)
    doubts: list[RowDoubt] = field(default_factory=list)


class Answerer:
    """A model on a device, asked for some outputs."""

    def __init__(
        self, bundle: Bundle, outputs: Collection[Output], device: torch.device, unknown: Literal["warn", "refuse"]
    ) -> None:
        self._bundle, self._device, self._unknown = bundle, device, unknown
        self._predicts, self._embeds = "predictions" in outputs, "embeddings" in outputs
        self._keys = frozenset(bundle.manifest.modality.keys)
        for module in (bundle.backbone, *bundle.heads.values()):
            module.to(device)

    @property
    def features(self) -> int | None:
        """F, the width of an embedding; None where none is asked for."""
        return self._bundle.manifest.features if self._embeds else None

    def sample(self) -> dict[str, Any]:
        """Return the predictions of a made-up row, which show what all look like."""
        if not self._predicts:
            return {}
        predictions, _ = self._compute(self._bundle.manifest.modality.specimens(1))
        return predictions[0]

    def answer_stored(self, stored: Rows) -> Answers:
        """Answer rows as a dataset keeps them (n, ...), in the model's order of columns and with its codes."""
        answers = Answers(places=list(range(len(stored))))
        self._add(answers, stored)
        return answers

    def answer(self, inputs: Sequence[Any] | Rows, errors: Mapping[int, str], stored: Rows | None = None) -> Answers:
        """Answer a block of n rows; those with an error are left out.

        `stored` (n, ...) are the same rows as a dataset keeps them, which are computed with instead.
        """
        answers = Answers(errors=dict(errors))
        left = [place for place in range(len(inputs)) if place not in errors]
        inputs = inputs if isinstance(inputs, np.ndarray) else [self._without_others(row) for row in inputs]
        pieces = [self._read(inputs, chunk, answers) for chunk in self._chunks(inputs, left)]
        answers.places = [place for places, _ in pieces for place in places]
        if answers.places:
            decoded = [rows for places, rows in pieces if places]
            rows = np.concatenate(decoded) if stored is None else stored[np.array(answers.places)]
            self._add(answers, rows)
        return answers

    def _chunks(self, inputs: Sequence[Any] | Rows, places: list[int]) -> Iterator[list[int]]:
        """Cut the places into those that are decoded together."""
        few = self._bundle.manifest.modality.kind == "image" and not isinstance(inputs, np.ndarray)
        step = _PICTURES_AT_ONCE if few else max(1, len(places))
        return (places[start : start + step] for start in range(0, len(places), step))

    def _read(self, inputs: Sequence[Any] | Rows, places: list[int], answers: Answers) -> tuple[list[int], Rows]:
        """Decode rows; those that cannot be read get an error, and the others are decoded without them."""
        while places:
            doubts = Doubts()
            chosen = inputs[np.array(places)] if isinstance(inputs, np.ndarray) else [inputs[place] for place in places]
            try:
                rows = self._bundle.manifest.modality.decode(chosen, doubts)
            except InputError as error:
                bad = error.errors
            else:
                bad = doubts.errors() if self._unknown == "refuse" else []
                if not bad:
                    answers.doubts += _of_rows(doubts, places)
                    return places, rows
            for loc, msg in reversed(bad):  # the first error of a row counts
                answers.errors[places[int(loc[0])]] = _sentence(loc[1:], msg)
            places = [place for place in places if place not in answers.errors]
        return [], np.empty(0)

    def _without_others(self, row: Any) -> Any:
        """Return an object with the model's keys alone, where it has any; other objects have their own meaning."""
        if not isinstance(row, dict):
            return row
        modality = self._bundle.manifest.modality
        row = with_clean_keys(row, self._keys.union(modality.left_out))
        if self._keys.isdisjoint(row):
            return {key: value for key, value in row.items() if key not in modality.left_out} or row
        others = [key for key in row if key not in self._keys and f"{key}0" not in self._keys]
        return {key: value for key, value in row.items() if key not in others} if others else row

    def _add(self, answers: Answers, rows: Rows) -> None:
        """Compute what is asked; rows whose features are no numbers get an error."""
        with np.errstate(over="ignore", invalid="ignore"):
            answers.predictions, answers.embeddings = self._compute(rows)
        if answers.embeddings is None:
            return
        sound = np.isfinite(answers.embeddings).all(axis=1)
        if not sound.all():
            answers.errors |= {answers.places[index]: _TOO_LARGE for index in np.flatnonzero(~sound).tolist()}
            kept = np.flatnonzero(sound).tolist()
            answers.places = [answers.places[index] for index in kept]
            answers.predictions = [answers.predictions[index] for index in kept] if answers.predictions else []
            answers.embeddings = answers.embeddings[kept]

    @torch.inference_mode()
    def _compute(self, rows: Rows) -> tuple[list[dict[str, Any]], NDArray[np.float32] | None]:
        """Rows as stored (m, ...) to predictions (m) and embeddings (m, F), block by block."""
        modality, bundle = self._bundle.manifest.modality, self._bundle
        predictions: list[dict[str, Any]] = []
        embeddings: list[NDArray[np.float32]] = []
        for block in each_block(len(rows), rows_per_block(modality.encoding.volume)):
            encoded = modality.encode(rows[block]).to(self._device)
            if self._embeds:
                embeddings.append(bundle.backbone(encoded).cpu().numpy())
            if self._predicts:
                outputs = bundle.outputs(encoded)
                heads = {key: head.predict(outputs[key]) for key, head in bundle.heads.items()}
                predictions += [{key: heads[key][row] for key in heads} for row in range(len(encoded))]
        return predictions, np.concatenate(embeddings) if embeddings else None


def _of_rows(doubts: Doubts, places: Sequence[int]) -> list[RowDoubt]:
    return [RowDoubt(places[doubt.row], code, doubt.subject, doubt.words) for code, doubt in doubts.each()]


def _sentence(loc: Location, msg: str) -> str:
    """Return what is wrong with a row, and where in it."""
    return f"{'.'.join(str(part) for part in loc)}: {msg}" if loc else msg
