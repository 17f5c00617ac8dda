"""Endpoints of the Open Inference Protocol, under /v2. Health needs no key, as under /health."""

from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json

from app.dependencies import Services, State
from app.errors import BadRequestError, NotFoundError, Problem, UnprocessableError
from app.health import get_readiness
from app.kit import strict_json
from app.kit.json_outline import parsed_bytes
from app.ml.spec import WarningItem
from app.models.endpoints import Ref
from app.models.refs import MAX_NAME, parse
from app.predictions import resolution, service
from app.predictions.answers import ArrayItems, Reserve, pieces_response, reserving
from app.predictions.deadlines import allow, limited
from app.predictions.endpoints import RoutingKey
from app.predictions.protocols.open_inference.inputs import input_tensors, rows_of
from app.predictions.protocols.open_inference.outputs import Output, Selection, Written, array_of, outputs_of, select
from app.predictions.protocols.open_inference.schemas import (
    InferRequest,
    InferResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from app.predictions.protocols.open_inference.tensors import arrays_of
from app.predictions.resolution import Description, ResolvedModel
from app.predictions.schemas import MAX_SECONDS, Unknown
from app.security import CanPredict, StrictRequest, operation_id, secure_router

health = APIRouter(prefix="/v2/health", tags=["open inference protocol"], generate_unique_id_function=operation_id)
router = secure_router("/v2", "open inference protocol")

_JSON_LENGTH = "Inference-Header-Content-Length"
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such model."}}
_TOO_LARGE: dict[int | str, dict[str, Any]] = {413: {"model": Problem, "description": "The body is too large."}}
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": InferRequest.model_json_schema()},
            "application/octet-stream": _BINARY,
        },
    }
}
_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": _BINARY}}}
_INFER: dict[str, Any] = {
    "responses": _MISSING | _TOO_LARGE | _ANSWER,
    "openapi_extra": _BODY,
    "response_model": InferResponse,
    "dependencies": [Depends(limited)],
}
_PARAMETERS = "binary_data_output, unknown and timeout"
_COPIES = 2  # of the bytes of binary tensors
_ELEMENT_BYTES = 64  # of an element on its way to JSON
_MICROSECONDS = 1_000_000  # of a second
_MAX_MICROSECONDS = MAX_SECONDS * _MICROSECONDS
Version = Annotated[str, Path(max_length=MAX_NAME, description="A version or an alias of the model's name.")]


@dataclass(frozen=True)
class _Body:
    request: InferRequest
    content: memoryview  # of binary tensors
    has_content: bool


async def _read(request: Request) -> _Body:
    """Return a request's JSON and the bytes that follow it."""
    body = await request.body()
    length = request.headers.get(_JSON_LENGTH)
    if length is not None and not (length.isdecimal() and 0 < int(length[:20]) <= len(body)):
        msg = f"{_JSON_LENGTH} is the length of the JSON at the beginning of the body, which has {len(body)} bytes."
        raise BadRequestError(msg)
    end = len(body) if length is None else int(length)
    assert isinstance(request, StrictRequest)  # as of all routes that need a key
    await request.reserve(await request.in_thread(parsed_bytes, body[:end]) + _COPIES * (len(body) - end))
    try:
        document = await request.in_thread(strict_json.loads, body[:end])
        return _Body(InferRequest.model_validate(document), memoryview(body)[end:], length is not None)
    except strict_json.StrictJsonError as error:
        msg = f"the JSON of the request: {error}"
        raise UnprocessableError(msg, code="invalid_request") from None
    except ValidationError as error:
        errors = [{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False)]
        raise RequestValidationError(errors, body=document) from None


Body = Annotated[_Body, Depends(_read)]


@health.get("/live")
async def get_server_liveness() -> ServerLive:
    """Answer that the process is alive."""
    return ServerLive()


@health.get("/ready")
def get_server_readiness(state: State) -> ServerReady:
    """Answer that the service can serve, that is, reach its database; else 503."""
    get_readiness(state)
    return ServerReady()


@router.get("")
def get_server_metadata(_: CanPredict) -> ServerMetadata:
    """Return what answers, and its extensions of the protocol."""
    return ServerMetadata(version=version_of("graftwork-server"))


@router.get("/models/{ref}", responses=_MISSING)
def get_model_metadata(state: State, principal: CanPredict, ref: Ref) -> ModelMetadata:
    """Return the tensors that a model takes and gives."""
    return _metadata(state, principal.project_id, _model(state, principal.project_id, ref))


@router.get("/models/{ref}/versions/{version}", responses=_MISSING)
def get_version_metadata(state: State, principal: CanPredict, ref: Ref, version: Version) -> ModelMetadata:
    """Return the tensors that a version of a model takes and gives."""
    return _metadata(state, principal.project_id, _model(state, principal.project_id, ref, version))


@router.get("/models/{ref}/ready", responses=_MISSING)
def get_model_readiness(state: State, principal: CanPredict, ref: Ref) -> ModelReady:
    """Load a model, unless it is in memory, and answer that it can be asked."""
    return _ready(state, _model(state, principal.project_id, ref))


@router.get("/models/{ref}/versions/{version}/ready", responses=_MISSING)
def get_version_readiness(state: State, principal: CanPredict, ref: Ref, version: Version) -> ModelReady:
    """Load a version of a model, unless it is in memory, and answer that it can be asked."""
    return _ready(state, _model(state, principal.project_id, ref, version))


@router.post("/models/{ref}/infer", **_INFER)
def infer_tensors(
    request: Request, state: State, principal: CanPredict, ref: Ref, body: Body, key: RoutingKey = None
) -> Response:
    """Answer the rows of tensors with tensors."""
    model = _model(state, principal.project_id, ref, key=key)
    return _infer(state, principal.project_id, model, body, reserving(request))


@router.post("/models/{ref}/versions/{version}/infer", **_INFER)
def infer_tensors_by_version(
    request: Request,
    state: State,
    principal: CanPredict,
    ref: Ref,
    version: Version,
    body: Body,
    key: RoutingKey = None,
) -> Response:
    """Answer the rows of tensors with tensors, by a version of a model."""
    model = _model(state, principal.project_id, ref, version, key)
    return _infer(state, principal.project_id, model, body, reserving(request))


def _model(
    state: Services, project_id: str, ref: str, version: str | None = None, key: str | None = None
) -> ResolvedModel:
    """Return the model that a path names. Raises NotFoundError."""
    reference = parse(ref)
    is_selector = version is not None and reference is not None and reference.is_bare_name
    model = resolution.resolve(state, project_id, f"{ref}@{version}" if is_selector else ref, key)
    if version is not None and not is_selector and version != str(model.name.version):
        msg = f"The path names {model.name.name}@{model.name.version} and another version: name one of them."
        raise NotFoundError(msg, code="model_not_found")
    return model


def _metadata(state: Services, project_id: str, model: ResolvedModel) -> ModelMetadata:
    description = resolution.describe(state, project_id, model)
    return ModelMetadata(
        name=model.name.name,
        versions=[str(version) for version in resolution.versions_of(state, project_id, model)],
        inputs=input_tensors(description.signature),
        outputs=[output.metadata for output in _outputs(model, description).values()],
    )


def _outputs(model: ResolvedModel, description: Description) -> dict[str, Output]:
    return outputs_of(description.answer_parts, model.features)


def _ready(state: Services, model: ResolvedModel) -> ModelReady:
    if not state.settings.predictor.startswith("http"):  # else another process loads models, when it is asked
        resolution.load(state, model)
    return ModelReady(name=model.name.name)


def _infer(state: Services, project_id: str, model: ResolvedModel, body: _Body, reserve: Reserve) -> Response:
    request = body.request
    description = resolution.describe(state, project_id, model)
    binary, unknown, timeout = _parameters(request)
    allow(timeout)
    selections = select(_outputs(model, description), request.outputs, binary=binary)
    arrays = arrays_of(request.inputs, body.content, has_content=body.has_content)
    rows = rows_of(arrays, description.signature)
    try:
        written, warnings = _answered(state, project_id, model, rows, selections, unknown, reserve)
    except UnprocessableError as error:
        raise _in_tensors(error, [*arrays]) from None
    response = InferResponse(
        model_name=model.name.name,
        model_version=str(model.name.version),
        id=request.id,
        parameters={"warnings": to_json(warnings).decode()} if warnings else None,
        outputs=written.tensors,
    )
    header = response.model_dump_json(exclude_none=True).encode()
    if not written.content:
        return pieces_response([header])
    headers = {_JSON_LENGTH: str(len(header))}
    return pieces_response([header, *written.content], "application/octet-stream", **headers)


def _parameters(request: InferRequest) -> tuple[bool, Unknown, float | None]:
    """Return whether outputs are bytes, what becomes of doubtful rows, and how many seconds the answer may take.

    `timeout` is in microseconds, as in Triton's schedule policy extension.
    """
    parameters = dict(request.parameters)
    binary, unknown = parameters.pop("binary_data_output", False), parameters.pop("unknown", "warn")
    timeout = parameters.pop("timeout", 0)
    parameters.pop("content_type", None)  # by which clients of MLServer say what they made a tensor of
    for key in parameters:
        msg = f"parameters: there is no {key[:100]!r}; there are {_PARAMETERS}"
        raise UnprocessableError(msg, code="invalid_request")
    if not isinstance(binary, bool) or unknown not in ("warn", "refuse"):
        msg = 'parameters: binary_data_output is true or false, and unknown "warn" or "refuse"'
        raise UnprocessableError(msg, code="invalid_request")
    if not isinstance(timeout, int) or isinstance(timeout, bool) or not 0 <= timeout <= _MAX_MICROSECONDS:
        msg = f"parameters: timeout is a whole number of microseconds, 1 to {_MAX_MICROSECONDS}, or 0: as if left out"
        raise UnprocessableError(msg, code="invalid_request")
    return binary, unknown, timeout / _MICROSECONDS or None


def _answered(
    state: Services,
    project_id: str,
    model: ResolvedModel,
    rows: Any,
    selections: list[Selection],
    unknown: Unknown,
    reserve: Reserve,
) -> tuple[Written, list[WarningItem]]:
    """Compute the outputs that are asked for, block by block, and return them with what is doubtful."""
    asked = state, project_id, model, rows, unknown
    tensors = {selection.output: ArrayItems(len(rows), reserve) for selection in selections}
    of_heads = [output for output in tensors if output.head is not None]
    warnings, of_embeddings = list[WarningItem](), list[WarningItem]()
    for answers in service.predicted_blocks(*asked, warnings) if of_heads else ():
        for output in of_heads:
            tensors[output].add(array_of(output, answers))
    for output in tensors.keys() - of_heads:
        for features in service.embedded_blocks(*asked, of_embeddings):
            tensors[output].add(features)
    written = Written()
    for selection in selections:
        array = tensors[selection.output].array
        reserve(_COPIES * array.nbytes if selection.binary and selection.top is None else _ELEMENT_BYTES * array.size)
        written.add(selection, array)
    return written, warnings if of_heads else of_embeddings


def _in_tensors(error: UnprocessableError, names: list[str]) -> UnprocessableError:
    """Return an error of rows with the tensor and the row that it is about."""
    messages = []
    for item in error.errors:
        _, *place = item.loc
        row, inside = (place[0], place[1:]) if place else (None, [])
        tensor = next((name for name in names if [name] == inside[:1]), names[0] if len(names) == 1 else None)
        if tensor is not None and inside[:1] == [tensor]:
            inside = inside[1:]
        where = [] if tensor is None else [f"input tensor {tensor[:200]!r}"]
        where += [] if row is None else [f"row {row}"]
        where += [repr(part) for part in inside]
        messages.append(f"{', '.join(where)}: {item.msg}")
    return UnprocessableError("; ".join(messages[:5]) or error.detail, code=error.code)
