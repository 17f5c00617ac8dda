"""Imported backbones: weights of a closed list of architectures, read as data and turned into our own model's files.

    efficientnet_lite0   images, as _lite1 and _lite2; safetensors, or the published checkpoint, known by its digest
    vit                  images; safetensors, with some numbers of a config.json and a preprocessor_config.json
    bert                 texts; safetensors, with the lines of a vocab.txt and some numbers of a config.json

The file never says what is built: it gives numbers, and every tensor's name, shape and type is compared with what the
architecture has. What comes out is a `Bundle` like that of any pretraining.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from app.ml.errors import WeightsError
from app.ml.interfaces import Backbone, BackboneConfig, PreprocessingConfig
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.preprocessing.image import ImagePreprocessing
from app.ml.models.bundle import Bundle, Manifest
from app.ml.models.imports import bert, efficientnet_lite0, vit
from app.ml.models.imports.published import TABLES, read_published
from app.ml.models.imports.weights import Weights, from_tensors, open_safetensors

Architecture = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "bert", "vit"]
USUAL_TOKENS = 256


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The file of weights, and what else an architecture needs."""

    architecture: Architecture
    path: Path
    side: int | None = None  # of images, in pixels; None: that of its training
    vocabulary: str | None = None  # the lines of a vocab.txt
    config: dict[str, Any] = field(default_factory=dict)  # a config.json
    preprocessor: dict[str, Any] = field(default_factory=dict)  # a preprocessor_config.json, of images
    max_tokens: int | None = None
    uncased: bool = True


def import_model(request: ImportRequest) -> Bundle:
    """Return the model that the weights make, on the CPU in eval mode. Raises `WeightsError`."""
    makers = {"bert": _text_model, "vit": _vit_model}
    return makers.get(request.architecture, _image_model)(request)


def _image_model(request: ImportRequest) -> Bundle:
    config = efficientnet_lite0.CONFIGS[request.architecture]
    modality = efficientnet_lite0.modality(request.side or efficientnet_lite0.SIDES[request.architecture])
    with _weights(request.path) as weights:
        backbone = efficientnet_lite0.load(weights, config, modality.encoding)
    return _bundle(ImagePreprocessing(), modality, config, backbone)


def _vit_model(request: ImportRequest) -> Bundle:
    with _weights(request.path) as weights:
        made = vit.load(weights, request.config, request.preprocessor, request.side)
    bundle = _bundle(ImagePreprocessing(), made.modality, made.config, made.backbone)
    doubts = {"decisions": made.decisions, "warnings": made.warnings}
    return replace(bundle, manifest=bundle.manifest.model_copy(update=doubts))


def _text_model(request: ImportRequest) -> Bundle:
    numbers, tokens = bert.numbers_of(request.config), bert.vocabulary_of(request.vocabulary or "")
    max_tokens = request.max_tokens or min(USUAL_TOKENS, numbers.max_position_embeddings)
    if max_tokens > numbers.max_position_embeddings:
        msg = f"the model has places for {numbers.max_position_embeddings} tokens: choose no more"
        raise WeightsError([(("max_tokens",), msg)], code="weights_do_not_fit")
    preprocessing, modality = bert.modality(tokens, max_tokens, uncased=request.uncased)
    with _weights(request.path) as weights:
        return _bundle(preprocessing, modality, *bert.load(weights, tokens, numbers, modality.encoding))


def _bundle(
    preprocessing: PreprocessingConfig, modality: AnyModality, config: BackboneConfig, backbone: Backbone
) -> Bundle:
    manifest = Manifest(
        kind="backbone",
        preprocessing=preprocessing,
        modality=modality,
        backbone=config,
        encoding=modality.encoding,
        features=backbone.features,
    )
    return Bundle(manifest, backbone.eval(), {})


@contextmanager
def _weights(path: Path) -> Iterator[Weights]:
    """Open a published checkpoint, known by its SHA-256; anything else as safetensors. Raises `WeightsError`."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 in TABLES:
        yield from_tensors(read_published(path.read_bytes(), sha256))
        return
    with open_safetensors(path) as weights:
        yield weights
