"""Imports pretrained weights: checks the upload, builds the files of a model, and registers the model."""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore, put_blob
from app.db.session import Database
from app.dependencies import Services
from app.errors import (
    ErrorItem,
    GraftworkError,
    UnavailableError,
    UnprocessableError,
    UnsupportedMediaError,
)
from app.idempotency.service import fingerprint, once
from app.kit import strict_json
from app.kit.forms import Form
from app.ml.errors import CorruptModelError, WeightsError
from app.ml.spec import Frozen, WarningItem
from app.models import service
from app.models.packages import MANIFEST, MODEL_FILES, Parts, json_field, parts_of, unpack_model
from app.models.published import BY_SOURCE, Architecture, PublishedWeights, fetch
from app.models.refs import ModelName
from app.models.schemas import Model
from app.settings import Settings
from app.storage.quotas import refuse_exceeded

if TYPE_CHECKING:
    from app.ml.models.bundle import Bundle

_MAX_WAIT_SECONDS = 5.0
_import_lock = threading.Lock()  # one import at a time: each holds a network in memory


class SourceRequest(Frozen):
    """The JSON body of an import of published weights."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"source": "minilm"}]})

    source: Literal["minilm", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"] = Field(
        description="Published weights, by their name in the catalogue; they must be on the service's machine."
    )
    name: ModelName | None = Field(None, description="Name of the model; null: that of the source.")


class ImportOptions(Frozen):
    """The form fields of an import."""

    name: ModelName = Field(description="Name of the model; a name that exists gets its next version.")
    architecture: Literal[Architecture, "graftwork"] = Field(
        description="Architecture of the weights; graftwork: a whole model, as an export in the format safetensors."
    )
    image_size: int | None = Field(
        None,
        ge=32,
        le=1024,
        description="For image models: side of the square input images, in pixels; null: 224, of lite1 240, of lite2 "
        "260; of vit that of its positions, and another multiple of its patch interpolates them.",
    )
    vocab: str | None = Field(None, description="For bert: the text of vocab.txt; not needed if the package holds one.")
    config: dict[str, Any] | None = Field(
        None, description="For bert and vit: config.json; not needed if the package holds one."
    )
    preprocessor: dict[str, Any] | None = Field(
        None,
        description="For vit: preprocessor_config.json, whose image_mean and image_std say how pixels were scaled; not "
        "needed if the package holds one.",
    )
    max_tokens: int | None = Field(
        None,
        ge=4,
        le=8192,
        description="For bert: maximum number of tokens of a text; null: 256, or all positions if there are fewer.",
    )
    uncased: bool = Field(default=True, description="For bert: whether the vocabulary lacks capitals and accents.")


def create(state: Services, project_id: str, key: str | None, form: Form) -> Model:
    """Convert the uploaded weights to a model and register it.

    Raises:
        UnprocessableError: a field is wrong, the file is damaged, or its tensors are not those of the architecture.
        UnsupportedMediaError: the file is neither a safetensors file nor a package that holds one.
        TooLargeError: the package is too large once unpacked.
        UnavailableError: other imports are in progress.
        ConflictError: other requests keep registering versions of this name.
    """
    options = _options(form.fields)
    request = fingerprint("models", form.sha256, *(f"{k}={v}" for k, v in sorted(form.fields.items())))
    with _one_at_a_time(), tempfile.TemporaryDirectory(dir=form.path.parent) as scratch:
        folder = Path(scratch)
        manifest, names = _build(options, form.path, folder)
        files = {name: put_blob(state.artifacts, folder / "model" / name).model_dump() for name in names}
    candidate = {"name": options.name, "kind": manifest["kind"], "manifest": manifest, "files": files, "metrics": {}}
    candidate["warnings"] = _warnings(manifest)

    def register(session: Session) -> Model:
        return once(session, project_id, key, request, partial(_registered, session, project_id, candidate), Model)

    return service.with_next_version(state.database, register)


def bring_in(
    database: Database, artifacts: ArtifactStore, settings: Settings, project_id: str, request: SourceRequest
) -> tuple[Model, bool]:
    """Make a model of published weights that are on this machine, unless the project has it: (model, if it is new).

    Raises:
        NotFoundError: they are not on this machine; the message says how to bring them there.
        UnprocessableError: a file is not the published one.
        UnavailableError: other imports are in progress.
        ConflictError: other requests keep registering versions of this name.
    """
    weights, name = BY_SOURCE[request.source], request.name or request.source
    with database.reading() as session:
        model = service.find_published(session, project_id, name, weights.source)
    if model is not None:
        return model, False
    scratch_folder = settings.data_folder / "tmp"
    scratch_folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(), tempfile.TemporaryDirectory(dir=scratch_folder) as scratch:
        folder = Path(scratch)
        paths = fetch(weights, settings.weights_folder, folder)
        manifest, names = _build_published(weights, paths, folder)
        files = {file: put_blob(artifacts, folder / "model" / file).model_dump() for file in names}
    candidate = {"name": name, "kind": manifest["kind"], "manifest": manifest, "files": files, "metrics": {}}
    candidate["warnings"] = _warnings(manifest)

    def register(session: Session) -> tuple[Model, bool]:
        model = service.find_published(session, project_id, name, weights.source)  # another request was faster
        return (model, False) if model else (_registered(session, project_id, candidate), True)

    return service.with_next_version(database, register)


def _warnings(manifest: Mapping[str, Any]) -> list[WarningItem]:
    """Return what was doubtful when the weights were imported."""
    return [WarningItem.model_validate(warning) for warning in manifest["warnings"]]


def _registered(session: Session, project_id: str, candidate: dict[str, Any]) -> Model:
    """Register the model as the next version."""
    model = service.add(session, project_id=project_id, job_id=None, dataset_id=None, parent_id=None, **candidate)
    refuse_exceeded(session, project_id)
    return model


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold the lock of imports. Raises UnavailableError after waiting `_MAX_WAIT_SECONDS` for it."""
    if not _import_lock.acquire(timeout=_MAX_WAIT_SECONDS):
        msg = "Another import is under way; try again."
        raise UnavailableError(msg, code="busy")
    try:
        yield
    finally:
        _import_lock.release()


def _build_published(
    weights: PublishedWeights, paths: Mapping[str, Path], scratch: Path
) -> tuple[dict[str, Any], list[str]]:
    """Write the files of the model that published weights make; return manifest and names of the files."""
    import torch  # noqa: PLC0415 - only imports need it

    from app.ml.models.bundle import PublishedSource, json_of, read_bundle, save_bundle  # noqa: PLC0415 - the same

    folder, file = scratch / "model", weights.files[0]
    folder.mkdir()
    torch.set_num_threads(1)  # leaves the other cores to predictions
    config, preprocessor = (
        strict_json.loads(paths[name].read_bytes()) if name in paths else None
        for name in ("config.json", "preprocessor_config.json")
    )
    vocab = paths["vocab.txt"].read_text(encoding="utf-8") if "vocab.txt" in paths else None
    parts = Parts(paths[file.name], vocab, config, preprocessor)
    source = PublishedSource(
        source=weights.source, title=weights.title, licence=weights.licence, home=weights.home, sha256=file.sha256
    )
    bundle = _converted(ImportOptions(name=weights.source, architecture=weights.architecture), parts)
    manifest = bundle.manifest.model_copy(update={"published": source})
    names = save_bundle(folder, replace(bundle, manifest=manifest))
    return json_of(read_bundle(folder).manifest), names


def _build(options: ImportOptions, upload: Path, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    """Write the model's files into the folder `model`, load them as a check; return manifest and names of the files."""
    import torch  # noqa: PLC0415 - only imports need it

    from app.ml.models.bundle import json_of, read_bundle, save_bundle  # noqa: PLC0415 - the same

    folder = scratch / "model"
    folder.mkdir()
    torch.set_num_threads(1)  # leaves the other cores to predictions
    try:
        if options.architecture == "graftwork":
            unpack_model(upload, folder)
            _check_manifest(folder)
            manifest = read_bundle(folder, for_training=True).manifest
            return json_of(manifest), [MANIFEST, *manifest.files]
        names = save_bundle(folder, _converted(options, parts_of(upload, scratch / "weights")))
        return json_of(read_bundle(folder).manifest), names
    except WeightsError as error:
        raise _refusal(error) from None
    except CorruptModelError as error:
        msg = f"file: the weights make a model that does not answer with numbers: {error}"
        if options.architecture == "graftwork":
            msg = f"file: this package makes no model that answers as it did when it was exported: {str(error)[:300]}"
        raise UnprocessableError(msg, code="weights_do_not_fit") from None


def _check_manifest(folder: Path) -> None:
    """Refuse the manifest of a package that is none of a model of this release, or names other files than a model's."""
    from app.ml.models.bundle import read_manifest  # noqa: PLC0415 - only imports need it

    try:
        others = sorted(read_manifest(folder).files.keys() - set(MODEL_FILES))
    except CorruptModelError:
        others = [""]
    if others:
        msg = f"file: {MANIFEST} is not that of a model that this release exports; export the model once more"
        raise UnprocessableError(msg, code="weights_do_not_fit", errors=[ErrorItem(loc=["body", "file"], msg=msg)])


def _converted(options: ImportOptions, parts: Parts) -> "Bundle":
    """Return the model that published weights make."""
    from app.ml.models.imports import ImportRequest, import_model  # noqa: PLC0415 - only imports need it

    assert options.architecture != "graftwork"
    return import_model(
        ImportRequest(
            options.architecture,
            parts.weights,
            side=options.image_size,
            vocabulary=options.vocab or parts.vocab,
            config=options.config or parts.config or {},
            preprocessor=options.preprocessor or parts.preprocessor or {},
            max_tokens=options.max_tokens,
            uncased=options.uncased,
        )
    )


def _refusal(error: WeightsError) -> GraftworkError:
    items = [ErrorItem(loc=["body", *loc], msg=msg) for loc, msg in error.errors]
    more = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
    first = f"{'.'.join(map(str, error.errors[0][0]))}: {error.errors[0][1]}{more}"
    kind = UnsupportedMediaError if error.code == "unsupported_format" else UnprocessableError
    return kind(first, code=error.code, errors=items)


def source_request(body: bytes) -> SourceRequest:
    """Validate a JSON body. Raises UnprocessableError, naming each wrong field."""
    try:
        return SourceRequest.model_validate(strict_json.loads(body))
    except strict_json.StrictJsonError as error:
        raise UnprocessableError(str(error), errors=[ErrorItem(loc=["body"], msg=str(error))]) from None
    except ValidationError as error:
        raise _wrong_fields(error) from None


def _options(fields: Mapping[str, str]) -> ImportOptions:
    """Validate the form fields; numbers, booleans and `config` are parsed as JSON."""
    values: dict[str, Any] = {name: text for name, text in fields.items() if text.strip()}
    for name in values.keys() & {"image_size", "max_tokens", "uncased", "config", "preprocessor"}:
        values[name] = json_field(name, values[name])
    try:
        return ImportOptions.model_validate(values)
    except ValidationError as error:
        raise _wrong_fields(error) from None


def _wrong_fields(error: ValidationError) -> UnprocessableError:
    items = [
        ErrorItem(loc=["body", *entry["loc"]], msg=entry["msg"].removeprefix("Value error, "))
        for entry in error.errors(include_url=False, include_input=False, include_context=False)[:20]
    ]
    msg = f"{'.'.join(str(part) for part in items[0].loc)}: {items[0].msg}"
    return UnprocessableError(msg, errors=items)
