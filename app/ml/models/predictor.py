"""Answers from a model in memory: JSON rows to features and to every head's answer."""

import math
import time
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.ml.configs.generation import Continuations, Generating, GenerationConfig, result_of
from app.ml.data.chunks import each_block, rows_per_block
from app.ml.interfaces import Head, Rows
from app.ml.interfaces.abilities import Sequences
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.head_answers import USUAL, AnswerOptions, Answers, answer_rows
from app.ml.kinds.modalities.text import TextModality
from app.ml.kinds.strategies.layers import of_layer
from app.ml.models.array_model import ArrayModel
from app.ml.models.bundle import Bundle, Manifest, read_bundle
from app.ml.models.generation import LanguageModel, generation
from app.ml.models.shared import SharedParts
from app.ml.models.together import Part, answers_of

_MEMORY_OF_JSON = 12  # bytes that a fitted preprocessing takes for each byte of its JSON
_TURNS_IN_A_BLOCK = 8
_MAX_ANSWERED = 1 << 15  # numbers of predictions at once: as JSON is made of them each takes some 100 bytes
_MIN_BYTES = 32 << 10  # of a model's manifest and modules, without their weights


class Predictor:
    """A model ready to answer. Nothing in it changes, so any number of threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._arrays = ArrayModel.of(bundle)

    @property
    def manifest(self) -> Manifest:
        """What the model is."""
        return self.bundle.manifest

    @property
    def backbone(self) -> Hashable:
        """What models have in common that share a backbone in memory."""
        return id(self.bundle.backbone)

    @property
    def heads(self) -> tuple[str, ...]:
        """The keys of the heads."""
        return tuple(self.bundle.heads)

    def decode(self, inputs: Sequence[Any] | Rows, doubts: Doubts | None = None) -> Rows:
        """JSON values to rows as stored (N, ...). Raises `InputError` naming every bad input."""
        return self.manifest.modality.decode(inputs, doubts)

    def encode(self, rows: Rows) -> NDArray[Any]:
        """Rows as stored to encoded rows (N, *shape); not more at once than `rows_at_once`."""
        return self.manifest.modality.encoded(rows)

    def decode_sound(self, inputs: Rows) -> Rows | None:
        """An array to rows as stored (N, ...), where nothing in it is doubtful or wrong and that takes no time."""
        return self.manifest.modality.decode_sound(inputs)

    @property
    def rows_at_once(self) -> int:
        """How many rows take bounded memory, encoded, in a network and in their answers."""
        return min(rows_per_block(self.manifest.modality.encoding.volume), self._rows_answered_at_once)

    @property
    def rows_in_a_turn(self) -> int:
        """How many rows of a large request are computed before others have their turn, in some of that memory."""
        rows = rows_per_block(self.manifest.modality.encoding.volume) // _TURNS_IN_A_BLOCK
        return max(1, min(rows, self._rows_answered_at_once))

    @cached_property
    def _rows_answered_at_once(self) -> int:
        parts = (part for entry in self.manifest.heads for part in entry.config.answer_parts(entry.targets))
        values = max(sum(math.prod(part.shape) for part in parts), self.manifest.features // 2)  # which have no names
        return max(1, _MAX_ANSWERED // max(1, values))

    def predict_encoded(
        self,
        encoded: NDArray[Any],
        heads: Collection[str] | None = None,
        options: AnswerOptions = USUAL,
        features: dict[Any, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Encoded rows (N, *shape) to one answer per row, {head key: JSON}, of all heads or of those with the keys.

        `features` keeps what the backbone made of these rows, for other models on it.
        """
        return answer_rows(self._answers(encoded, heads, features), len(encoded), options)

    def predict(
        self, rows: Rows, heads: Collection[str] | None = None, options: AnswerOptions = USUAL
    ) -> list[dict[str, Any]]:
        """Rows as stored to one answer per row, {head key: JSON}, of all heads or of those with the keys."""
        blocks = self._encoded(rows)
        return [answer for encoded in blocks for answer in self.predict_encoded(encoded, heads, options)]

    def answers(self, rows: Rows, key: str) -> list[Answers]:
        """Rows as stored to the answers of one head, block by block."""
        return [self._answers(encoded, (key,))[key] for encoded in self._encoded(rows)]

    @torch.inference_mode()
    def predict_together(self, rows: Rows, parts: Sequence[tuple["Predictor", int]]) -> list[dict[str, Any]]:
        """Do the same for models of this one's family, at most `rows_at_once` rows: the first so many are of each."""
        encoded = self.encode(rows)
        sources = {model.source for model, _ in parts}
        arrays = self._arrays_for(len(rows))
        if arrays is not None:
            features = {source: arrays.features(encoded, source) for source in sources}
        else:
            layers = self.bundle.backbone.layers(self._tensor(encoded))
            features = {source: of_layer(layers, source).numpy(force=True) for source in sources}

        def alone(head: Head, of_head: NDArray[np.float32], of_rows: slice) -> list[Any]:
            return head.predict(head.read(self._tensor(of_head), self._tensor(encoded[of_rows])))

        return answers_of([Part(model.bundle.heads, count, model.source) for model, count in parts], features, alone)

    def _arrays_for(self, rows: int) -> ArrayModel | None:
        """Return the model as arrays where these compute so many rows sooner than torch does."""
        arrays = self._arrays
        return arrays if arrays is not None and rows <= arrays.max_rows else None

    @cached_property
    def source(self) -> str:
        """Which layers of the backbone the heads take their features from."""
        strategy = self.manifest.strategy
        return strategy.source if strategy else "last"

    @cached_property
    def parts(self) -> dict[Hashable, int]:
        """The backbone and the preprocessing, which models may share, and the rest; with the bytes of each, nearly."""
        modality = self.manifest.modality
        return {
            id(self.bundle.backbone): _bytes_of(self.bundle.backbone),
            id(modality): _MEMORY_OF_JSON * len(modality.model_dump_json()),
            id(self): _MIN_BYTES + sum(map(_bytes_of, self.bundle.heads.values())),
        }

    @cached_property
    def family(self) -> Hashable:
        """What models have in common whose rows are computed together: all but their heads; by default nothing."""
        if any("sequence" in entry.config.needs for entry in self.manifest.heads):
            return self
        return id(self.bundle.backbone), id(self.manifest.modality)

    def embed(self, rows: Rows) -> NDArray[np.float32]:
        """Rows as stored to features (N, F)."""
        return np.concatenate([self._features(encoded) for encoded in self._encoded(rows)])

    def _features(self, encoded: NDArray[Any]) -> NDArray[np.float32]:
        arrays = self._arrays_for(len(encoded))
        if arrays is not None:
            return arrays.features(encoded, "last")
        with torch.inference_mode():
            return self.bundle.backbone(self._tensor(encoded)).numpy(force=True)  # type: ignore[no-any-return]

    def prompts(self, inputs: Sequence[Any], doubts: Doubts | None = None) -> list[list[int]]:
        """JSON texts as codes to continue. Raises `InputError`."""
        modality = self.manifest.modality
        assert isinstance(modality, TextModality)
        return modality.prompts(inputs, doubts)

    def generating(
        self, prompts: Sequence[Sequence[int]], config: GenerationConfig, seconds: float, *, streamed: bool = False
    ) -> Generating:
        """Continue the codes of texts within so many seconds, by a model that has a generator head.

        Yields after every token: pieces of the continuations' texts where they are `streamed`, else nothing.
        """
        deadline = time.monotonic() + seconds
        model = self._language_model()
        results = []
        for row, prompt in enumerate(prompts):
            # A seed per row, so that a row's continuations do not depend on the other rows of the request.
            of_row = replace(config, seed=(config.seed + row) % 2**63)
            continuations = yield from generation(model, prompt, of_row, deadline, row=row, streamed=streamed)
            results.append(Continuations(truncated=len(prompt) > model.window, continuations=continuations))
        return results

    def generate(
        self, prompts: Sequence[Sequence[int]], config: GenerationConfig, seconds: float
    ) -> list[Continuations]:
        """Continue the codes of texts at once."""
        return result_of(self.generating(prompts, config, seconds))

    def _language_model(self) -> LanguageModel:
        modality, backbone = self.manifest.modality, self.bundle.backbone
        head = next(self.bundle.heads[entry.config.key] for entry in self.manifest.heads if entry.config.generates)
        assert isinstance(modality, TextModality)
        assert isinstance(backbone, Sequences)
        return LanguageModel(backbone, head, modality.codec, modality.tokens, modality.marked, self.bundle.device)

    def _encoded(self, rows: Rows) -> Iterator[NDArray[Any]]:
        """Encoded blocks (b, *shape) of bounded size, so that a large request takes bounded memory."""
        if len(rows) <= self.rows_at_once:
            return iter((self.encode(rows),))
        return (self.encode(rows[block]) for block in each_block(len(rows), self.rows_at_once))

    def _tensor(self, encoded: NDArray[Any]) -> Tensor:
        return torch.from_numpy(encoded).to(self.bundle.device)

    def _answers(
        self, encoded: NDArray[Any], heads: Collection[str] | None = None, features: dict[Any, Any] | None = None
    ) -> dict[str, Answers]:
        features = {} if features is None else features
        arrays = self._arrays_for(len(encoded))
        if arrays is None:
            with torch.inference_mode():
                outputs = self.bundle.outputs(self._tensor(encoded), heads, features)
                return {key: self.bundle.heads[key].answer(output) for key, output in outputs.items()}
        place = "arrays", self.source
        if place not in features:
            features[place] = arrays.features(encoded, self.source)
        return arrays.answers(features[place], heads)


def _bytes_of(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def load_bundle(folder: Path, shared: SharedParts | None = None, device: str = "cpu") -> Predictor:
    """Load a model to a device, and replay its golden rows there. Raises `CorruptModelError`."""
    return Predictor(read_bundle(folder, shared, device=device))
