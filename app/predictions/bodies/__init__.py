"""Bodies in every form become a list of inputs. A new form is a file here and an entry in FORMS."""

from collections.abc import Mapping
from email.message import Message
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.errors import UnsupportedMediaError
from app.predictions.bodies import comma_separated, json_lines, npy, parquet, pictures
from app.predictions.bodies.form import BodyForm, check_count, unreadable
from app.predictions.schemas import MAX_INPUTS, Inputs

JSON, MULTIPART = "application/json", "multipart/form-data"
FORMS: tuple[BodyForm, ...] = (
    comma_separated.FORM,
    json_lines.FORM,
    parquet.FORM,
    npy.FORM,
    pictures.FORM,
)
_BY_TYPE = {content_type: form for form in FORMS for content_type in form.content_types}
_UNTYPED = ("", "application/octet-stream", "application/vnd.ms-excel")  # as browsers send files that they do not know
_SHOWN_ROW = {"row", "split", "input", "targets"}
_MAX_FIELDS = 2


async def read_inputs(request: Request) -> Inputs:
    """Return the inputs of a request's body, whatever its form.

    Raises:
        UnsupportedMediaError: the form is not known.
        UnprocessableError, RequestValidationError: the body is none of its form, or has too many rows.
    """
    content_type = _media_type(request.headers.get("content-type", JSON))
    if content_type == MULTIPART:
        body = await _from_multipart(request)
    elif content_type == JSON or content_type.endswith("+json"):
        body = _validated(await request.json())
    else:
        form = _form_of(content_type, "", content := await request.body())
        body = Inputs(inputs=await run_in_threadpool(form.read, content))
    return body.model_copy(update={"inputs": [_without_labels(row) for row in body.inputs]})


def request_body() -> dict[str, Any]:
    """Return the OpenAPI description of a body with inputs."""
    binary = {"type": "string", "format": "binary"}
    content: dict[str, Any] = {JSON: {"schema": Inputs.model_json_schema()}}
    content |= {content_type: {"schema": dict(form.schema)} for form in FORMS for content_type in form.content_types}
    files = {"type": "array", "items": binary, "description": "Files of these forms; their rows in order."}
    content[MULTIPART] = {"schema": {"type": "object", "properties": {"file": files}, "required": ["file"]}}
    return {"requestBody": {"required": True, "content": content}}


def _validated(value: Any) -> Inputs:
    try:
        return Inputs.model_validate(value)
    except ValidationError as error:
        errors = [{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_url=False)]
        raise RequestValidationError(errors, body=value) from None


async def _from_multipart(request: Request) -> Inputs:
    """Return the rows of every file of a form, in order; the field `unknown` is understood too."""
    await request.body()  # within the limit; what follows reads it from memory
    inputs: list[Any] = []
    fields: dict[str, Any] = {}
    async with request.form(max_files=MAX_INPUTS, max_fields=_MAX_FIELDS) as parts:
        for name, part in parts.multi_items():
            if isinstance(part, UploadFile):
                content = await part.read()
                form = _form_of(_media_type(part.content_type or ""), part.filename or "", content)
                inputs += await run_in_threadpool(form.read, content)
                check_count(len(inputs))
            else:
                fields[name] = part
    if not inputs:
        msg = "the form holds no file; send pictures, or files of rows"
        raise unreadable(msg)
    return _validated({"inputs": inputs, **fields})


def _media_type(header: str) -> str:
    message = Message()
    message["content-type"] = header
    return message.get_content_type() if header else ""


def _form_of(content_type: str, filename: str, content: bytes) -> BodyForm:
    """Return the form of a body or file: by its type, or by its first bytes or its name where that says nothing."""
    form = _BY_TYPE.get(content_type)
    if form is None and content_type in _UNTYPED:
        form = next((f for f in FORMS if f.fits(filename, content)), None)
    if form is None:
        msg = f"Send rows as {', '.join([JSON, *_BY_TYPE, MULTIPART])}, and say which in the Content-Type."
        raise UnsupportedMediaError(msg)
    return form


def _without_labels(row: Any) -> Any:
    """Return the input of a row as `GET /v1/datasets/{id}/rows` shows it, and any other row as it is."""
    return row["input"] if isinstance(row, Mapping) and set(row) == _SHOWN_ROW else row
