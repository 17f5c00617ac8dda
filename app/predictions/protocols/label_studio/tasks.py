"""Rows of tasks. Data stand in the task; what a task gives by a URL is read from the operator's Label Studio alone."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from app.errors import ErrorItem, UnprocessableError
from app.predictions.protocols.label_studio.label_config import Question
from app.settings import Settings

MAX_FILE_BYTES = 8 << 20
_SECONDS = 10.0
_FILES = ("/data/", "/storage-data/")  # where Label Studio serves what was uploaded, or lies in a storage of its own
_BY_URL = ("image", "text")  # rows that are one file
_OK = 200


def rows_of(settings: Settings, modality: str, question: Question, tasks: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the row of each task, as predictions take it.

    Raises:
        UnprocessableError: a task lacks its data, or gives them by a URL that is not read.
    """
    return [_row(settings, modality, question, task, index) for index, task in enumerate(tasks)]


def _row(settings: Settings, modality: str, question: Question, task: Mapping[str, Any], index: int) -> Any:
    data = task.get("data")
    if not isinstance(data, dict):
        msg = "the task has no data: let the webhook send its payload"
        raise _refusal(index, msg)
    value = data.get(question.key)
    if modality == "table" and not isinstance(value, dict):
        return data  # the columns are the task's; those that are no inputs are ignored
    if value is None or value == "":
        msg = f"the task has no {question.key!r}, which the labelling config names"
        raise _refusal(index, msg)
    if isinstance(value, str) and _is_url(value, modality):
        if modality not in _BY_URL:
            msg = f"a {modality} row is read out of the task alone: import it as JSON instead of a URL"
            raise _refusal(index, msg)
        content = _fetched(settings, value, index)
        return base64.b64encode(content).decode() if modality == "image" else content.decode("utf-8", "replace")
    return value


def _is_url(value: str, modality: str) -> bool:
    """Whether a value says where the row is; a text is a URL only if it is nothing else."""
    if value.startswith(_FILES):
        return True
    is_whole = value.startswith(("http://", "https://", "s3://", "gs://", "azure-blob://"))
    return is_whole and (modality != "text" or not any(character.isspace() for character in value))


def _fetched(settings: Settings, url: str, index: int) -> bytes:
    """Return a file of the operator's Label Studio. Raises UnprocessableError for any other, or where it is not had."""
    base = settings.label_studio_url
    path = url.removeprefix(base) if base else url
    if not base or not path.startswith(_FILES) or "/../" in path:
        msg = (
            "this URL is not read: put the data into the task, or let who runs the service name Label Studio by "
            "GRAFTWORK_LABEL_STUDIO_URL, whose own files are read"
        )
        raise _refusal(index, msg)
    token = settings.label_studio_token
    headers = {} if token is None else {"Authorization": f"Token {token.get_secret_value()}"}
    try:
        with (
            httpx.Client(trust_env=False, timeout=_SECONDS) as client,
            client.stream("GET", f"{base}{path}", headers=headers) as response,
        ):
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_FILE_BYTES:
                    msg = f"the file has more than {MAX_FILE_BYTES >> 20} MiB"
                    raise _refusal(index, msg)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        msg = f"Label Studio does not give the file ({type(error).__name__})"
        raise _refusal(index, msg) from None
    if response.status_code != _OK:
        msg = f"Label Studio answers {response.status_code} for the file: check GRAFTWORK_LABEL_STUDIO_TOKEN"
        raise _refusal(index, msg)
    return bytes(content)


def _refusal(index: int, msg: str) -> UnprocessableError:
    loc: list[str | int] = ["body", "tasks", index]
    return UnprocessableError(f"tasks.{index}: {msg}", code="invalid_input", errors=[ErrorItem(loc=loc, msg=msg)])
