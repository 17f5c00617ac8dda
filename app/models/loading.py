"""Loads registered models into memory; what is loaded has its files verified and its golden rows replayed."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

from app.artifacts import link_files
from app.dependencies import Services
from app.errors import CorruptError, GraftworkError, UnavailableError
from app.ml.errors import CorruptModelError
from app.serving.engine import LoadedModel, Resident

log = logging.getLogger(__name__)


def load(state: Services, model_id: str, files: Mapping[str, Any]) -> Resident:
    """Return a model in memory, loaded if need be. Raises CorruptError for damaged files."""
    try:
        return state.engine.resident(model_id, lambda: _load(state, files))
    except CorruptModelError as error:
        raise CorruptError(str(error)) from error


def preload(state: Services, models: Sequence[tuple[str, Mapping[str, Any]]]) -> Future[object]:
    """Load models (id, files) in the background; what cannot be loaded is logged, and is an error of its requests."""

    def load_all() -> None:
        for model_id, files in models:
            try:
                load(state, model_id, files)
            except GraftworkError as error:
                log.warning("model %s answers from now on and cannot be loaded: %s", model_id, error.detail)

    return state.engine.in_background(load_all)


def _load(state: Services, files: Mapping[str, Any]) -> LoadedModel:
    """Load a model from its verified files; loading replays its golden outputs as a check."""
    import torch  # noqa: PLC0415 - loaded by the first prediction only

    from app.ml.models.predictor import load_bundle  # noqa: PLC0415 - the same

    torch.set_num_threads(1)  # one thread per request: requests run in parallel already
    with tempfile.TemporaryDirectory() as scratch:
        folder = link_files(state.artifacts, files, Path(scratch))
        return load_bundle(folder, state.engine.shared, device_of(state.settings.serving_device))


def device_of(setting: Literal["auto", "cpu", "cuda"]) -> str:
    """Return the device that models are loaded to. Raises UnavailableError for a GPU that is not there."""
    import torch  # noqa: PLC0415 - loaded by the first prediction only

    has_gpu = torch.cuda.is_available()
    if setting == "cuda" and not has_gpu:
        msg = "GRAFTWORK_SERVING_DEVICE is cuda, and there is no GPU here; set it to auto or cpu."
        raise UnavailableError(msg, code="no_such_device")
    return "cuda" if has_gpu and setting != "cpu" else "cpu"
