"""Bodies in every form become a list of inputs, or an array. A new form is a file here and an entry in FORMS."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from functools import partial
from typing import Any, TypeVar

import numpy as np
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.errors import UnsupportedMediaError
from app.kit import strict_json
from app.kit.json_outline import parsed_bytes
from app.ml.interfaces import Rows
from app.predictions.bodies import comma_separated, json_lines, json_rows, npy, parquet, pictures, raw
from app.predictions.bodies.form import BodyForm, check_count, unreadable
from app.predictions.bodies.lazy_rows import JoinedRows, LazyRows, without_labels
from app.predictions.deadlines import allow
from app.predictions.schemas import MAX_INPUTS, Inputs, JointInputs, PredictionInputs, Prompts
from app.security import StrictRequest

JSON, MULTIPART = "application/json", "multipart/form-data"
FORMS: tuple[BodyForm, ...] = (
    comma_separated.FORM,
    json_lines.FORM,
    parquet.FORM,
    npy.FORM,
    pictures.FORM,
)
_UNTYPED = ("", raw.CONTENT_TYPE, "application/vnd.ms-excel")  # as browsers send files that they do not know
_BY_FIRST_BYTES = "Under this one the first bytes say what it is, which those of CSV and JSON Lines do not."
_MAX_FIELDS = 16
_MAX_LOOP_BYTES = 1 << 15
_TEXTS = (comma_separated.FORM, json_lines.FORM, parquet.FORM)
AnyInputs = TypeVar("AnyInputs", Inputs, PredictionInputs, JointInputs, Prompts)


async def read_inputs(request: Request) -> Inputs:
    """Return the inputs of a request's body, whatever its form.

    Raises:
        UnsupportedMediaError: the form is not known.
        UnprocessableError, RequestValidationError: the body is none of its form, or has too many rows.
    """
    return await _read(request, Inputs, FORMS)


async def read_prediction_inputs(request: Request) -> PredictionInputs:
    """Return the inputs of a request for predictions, with its options; raises as `read_inputs`."""
    return await _read(request, PredictionInputs, FORMS)


async def read_joint_inputs(request: Request) -> JointInputs:
    """Return the inputs of a request to several models; raises as `read_inputs`."""
    return await _read(request, JointInputs, FORMS)


async def read_prompts(request: Request) -> Prompts:
    """Return the texts of a request's body to continue; raises as `read_inputs`."""
    return await _read(request, Prompts, _TEXTS)


async def _read(request: Request, model: type[AnyInputs], forms: Sequence[BodyForm]) -> AnyInputs:
    content_type, parameters = _media_type(request.headers.get("content-type", JSON))
    if content_type == MULTIPART:
        body = await _from_multipart(request, forms)
    elif content_type == JSON or content_type.endswith("+json"):
        assert isinstance(request, StrictRequest)  # as of all routes that need a key
        body = _under_inputs(await json_rows.read(request))
    else:
        content = await request.body()
        reader, parsed = _reader_of(content_type, parameters, "", content, forms)
        await _reserve(request, parsed, content)
        body = {"inputs": await run_in_threadpool(reader, content)}
    fields = body | _listed_in_query(request, model) if isinstance(body, dict) else body
    inputs = body["inputs"] if isinstance(body, dict) and "inputs" in body else None
    if isinstance(inputs, np.ndarray | LazyRows):  # whose rows were counted
        validated = _validated(model, {**fields, "inputs": [0] * len(inputs)})
    else:
        validated = _validated(model, fields)
        inputs = [without_labels(row) for row in validated.inputs]
    allow(validated.timeout)
    return validated.model_copy(update={"inputs": inputs})


def _listed_in_query(request: Request, model: type[AnyInputs]) -> dict[str, list[str]]:
    """Return the models that the query names, which a body of rows alone cannot."""
    names: list[str] = request.query_params.getlist("models") if model is JointInputs else []
    return {"models": names} if names else {}


def request_body(model: type[Inputs | Prompts] = Inputs) -> dict[str, Any]:
    """Return the OpenAPI description of a body with inputs."""
    binary = {"type": "string", "format": "binary"}
    forms = _TEXTS if model is Prompts else FORMS
    # Generators of clients warn of any other type of content, so it stands in an extension.
    others = {content_type: {"schema": dict(form.schema)} for form in forms for content_type in form.content_types}
    about = f"A file, better sent under its own Content-Type: {', '.join(others)}. {_BY_FIRST_BYTES}"
    if model is not Prompts:
        about = f"{about} {raw.DESCRIPTION}"
    rows = {"schema": {**binary, "description": about}, "x-content": others}
    content: dict[str, Any] = {JSON: {"schema": model.model_json_schema()}, raw.CONTENT_TYPE: rows}
    files = {"type": "array", "items": binary, "description": "Files of these forms; their rows in order."}
    fields: dict[str, Any] = {"file": files}
    example: dict[str, Any] = {
        "file": ["text\nthe parcel\n" if model is Prompts else "petal,sepal\n1.4,3.2\n4.7,2.9\n"]
    }
    if model is JointInputs:
        fields["models"] = {"type": "string", "description": "Reference of a model, or a JSON list of references."}
        example["models"] = '["flower-kinds", "flower-heads"]'
    form = {"type": "object", "properties": fields, "required": [*fields], "examples": [example]}
    content[MULTIPART] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def _under_inputs(body: Any) -> Any:
    """Return a JSON body. Raises UnprocessableError for rows without the object around them."""
    if isinstance(body, list | str) or (isinstance(body, dict) and body and "inputs" not in body and not _named(body)):
        msg = 'put what is asked under the key "inputs": {"inputs": [...]}'
        raise unreadable(msg)
    return body


def _named(body: dict[str, Any]) -> bool:
    """Whether an object holds fields of a request, or lists of rows under another name."""
    return bool(body.keys() & {*JointInputs.model_fields, *Prompts.model_fields}) or any(
        isinstance(value, list) for value in body.values()
    )


def _validated(model: type[AnyInputs], value: Any) -> AnyInputs:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(_in_body(error), body=value) from None


def _in_body(error: ValidationError) -> list[dict[str, Any]]:
    """Return the errors with their places in the request."""
    return [{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False)]


async def _from_multipart(request: Request, forms: Sequence[BodyForm]) -> dict[str, Any]:
    """Return the rows of every file of a form, in order, with the form's other fields."""
    body = await request.body()  # within the limit; what follows reads it from memory
    await _reserve(request, len, body)
    files: list[Sequence[Any] | Rows] = []
    texts: defaultdict[str, list[str]] = defaultdict(list)  # of each field's parts
    async with request.form(max_files=MAX_INPUTS, max_fields=_MAX_FIELDS) as parts:
        for name, part in parts.multi_items():
            if isinstance(part, UploadFile):
                content = await part.read()
                await _reserve(request, partial(_parsed_bytes_of_file, part, forms=forms), content)
                files.append(await run_in_threadpool(_rows_of_file, part, content, forms))
                check_count(sum(map(len, files)))
            else:
                texts[name].append(part)
    if not files:
        msg = "the form holds no file; send pictures, or files of rows"
        raise unreadable(msg)
    # A field that stands several times is a list of texts; where none may stand, validation refuses it by name.
    fields = {name: _field(parts[0]) if len(parts) == 1 else parts for name, parts in texts.items()}
    return {"inputs": files[0] if len(files) == 1 else _joined(files), **fields}


def _joined(files: Sequence[Sequence[Any] | Rows]) -> Sequence[Any]:
    """Return the rows of several files as those of one."""
    if any(isinstance(rows, LazyRows) for rows in files):
        return JoinedRows(files)
    return [row for rows in files for row in rows]


async def _reserve(request: Request, parsed_bytes: Callable[[bytes], int], content: bytes) -> None:
    """Reserve the memory that a body or file takes once it is read. Raises TooLargeError, UnavailableError."""
    assert isinstance(request, StrictRequest)  # as of all routes that need a key
    is_large = len(content) > _MAX_LOOP_BYTES
    await request.reserve(await request.in_thread(parsed_bytes, content) if is_large else parsed_bytes(content))


def _parsed_bytes_of_file(part: UploadFile, content: bytes, forms: Sequence[BodyForm]) -> int:
    (content_type, parameters), filename = _media_type(part.content_type or ""), part.filename or ""
    if _is_json(content_type, filename):
        return parsed_bytes(content)
    return _reader_of(content_type, parameters, filename, content, forms)[1](content)


def _is_json(content_type: str, filename: str) -> bool:
    return content_type == JSON or (content_type in _UNTYPED and filename.lower().endswith(".json"))


def _rows_of_file(part: UploadFile, content: bytes, forms: Sequence[BodyForm]) -> Sequence[Any] | Rows:
    """Return the rows of a file of a form, which may be a JSON body, too."""
    (content_type, parameters), filename = _media_type(part.content_type or ""), part.filename or ""
    if not _is_json(content_type, filename):
        return _reader_of(content_type, parameters, filename, content, forms)[0](content)
    try:
        value = strict_json.loads(content)
    except strict_json.StrictJsonError as error:
        raise unreadable(str(error)) from None
    rows = value["inputs"] if isinstance(value, dict) and set(value) == {"inputs"} else value
    return rows if isinstance(rows, list) else [rows]


def _field(text: str) -> Any:
    """Return a field of a form: JSON where it is some, else text."""
    try:
        return strict_json.loads(text.encode())
    except (strict_json.StrictJsonError, UnicodeEncodeError):
        return text


def _media_type(header: str) -> tuple[str, dict[str, str]]:
    """Return the content type that a header says, and its parameters."""
    if not header:
        return "", {}
    message = Message()
    message["content-type"] = header
    parameters = message.get_params([])[1:]
    return message.get_content_type(), {name.lower(): value for name, value in parameters if name}


def _reader_of(
    content_type: str, parameters: Mapping[str, str], filename: str, content: bytes, forms: Sequence[BodyForm]
) -> tuple[Callable[[bytes], Sequence[Any] | Rows], Callable[[bytes], int]]:
    """Return what reads a body or file, and what says how many bytes of memory its inputs take at most.

    The form is known by its type, or by its first bytes or its name where that says nothing.
    """
    takes_arrays = npy.FORM in forms
    if content_type == raw.CONTENT_TYPE and raw.is_raw(parameters) and takes_arrays:
        return partial(raw.read, parameters=parameters), len
    form = next((form for form in forms if content_type in form.content_types), None)
    if form is None and content_type in _UNTYPED:
        form = next((form for form in forms if form.fits(filename, content)), None)
    if form is None:
        types = [JSON, *(content_type for form in forms for content_type in form.content_types), MULTIPART]
        arrays = f" Of a raw array it says dtype and shape, too: {raw.EXAMPLE}" if takes_arrays else ""
        msg = f"Send rows as {', '.join(types)}, and say which in the Content-Type.{arrays}"
        raise UnsupportedMediaError(msg)
    return form.read, form.parsed_bytes
