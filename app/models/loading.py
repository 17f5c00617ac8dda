"""Loads registered models into memory; what is loaded has its files verified and its golden rows replayed."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.artifacts import ArtifactStore, link_files
from app.dependencies import Services
from app.errors import CorruptError
from app.ml.errors import CorruptModelError
from app.serving.engine import LoadedModel, Resident


def load(state: Services, model_id: str, files: Mapping[str, Any]) -> Resident:
    """Return a model in memory, loaded if need be. Raises CorruptError for damaged files."""
    try:
        return state.engine.resident(model_id, lambda: _load(state.artifacts, files))
    except CorruptModelError as error:
        raise CorruptError(str(error)) from error


def _load(store: ArtifactStore, files: Mapping[str, Any]) -> LoadedModel:
    """Load a model from its verified files; loading replays its golden outputs as a check."""
    import torch  # noqa: PLC0415 - loaded by the first prediction only

    from app.ml.models.predictor import load_bundle  # noqa: PLC0415 - the same

    torch.set_num_threads(1)  # one thread per request: requests run in parallel already
    with tempfile.TemporaryDirectory() as scratch:
        return load_bundle(link_files(store, files, Path(scratch)))
