"""The form of an answer, chosen by `Accept`: JSON, or an array with what else there is to say in a header.

    Content-Type: application/octet-stream; dtype=float64; shape="32,10"
    Graftwork-Answer: {"model": {...}, "dtype": "float64", "shape": [32, 10], "head": ..., "names": [...], ...}
    Graftwork-Warnings: 1

The numbers of `application/octet-stream` are little-endian and in C order; `application/x-npy` says the same of itself.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from app.errors import ErrorItem, NotAcceptableError, UnprocessableError
from app.ml.spec import WarningItem
from app.predictions.answers import array_pieces, pieces_response
from app.predictions.schemas import ModelName

Form = Literal["application/json", "application/x-npy", "application/octet-stream"]
JSON: Form = "application/json"
NPY: Form = "application/x-npy"
RAW: Form = "application/octet-stream"
MAX_HEADER_BYTES = 3072  # some proxies take no more than 4 KiB for all headers of an answer
_SPECIFIC = 3  # a media type as it is, rather than all of a kind, or all


@dataclass(frozen=True, slots=True)
class ArrayAnswer:
    """Numbers of an answer, and what JSON would say with them; `omitted` is what only JSON says."""

    model: ModelName
    numbers: NDArray[Any]
    warnings: list[WarningItem]
    head: str | None = None
    names: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()


def acceptable(accept: Sequence[str], offered: Sequence[Form] = (JSON, NPY, RAW)) -> Form:
    """Return the form that the values of Accept prefer: by q, then as it is named rather than by *, then in order.

    Raises:
        NotAcceptableError: they take none of those that are offered.
    """
    ranges = [part for value in accept for part in value.split(",") if part.strip()]
    if not ranges:
        return offered[0]
    best = max(
        ((*_preference(ranges, form), -place, form) for place, form in enumerate(offered)), key=lambda it: it[:4]
    )
    if best[0] <= 0:
        msg = f"Answers come as {', '.join(offered)}: name one of them in Accept, or leave it out for {offered[0]}."
        raise NotAcceptableError(msg)
    return best[4]


def _preference(ranges: Sequence[str], form: str) -> tuple[float, int, int]:
    """Return q of the most specific range that a form is in, how specific that is, and minus its place."""
    best = (0, 0.0, 0)
    for place, text in enumerate(ranges):
        media, *parameters = (part.strip() for part in text.split(";"))
        specific = {form: _SPECIFIC, f"{form.partition('/')[0]}/*": 2, "*/*": 1, "*": 1}.get(media.lower(), 0)
        if specific > best[0]:
            best = specific, _quality(parameters), -place
    return best[1], best[0], best[2]


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def refuse_options(form: Form, **options: object) -> None:
    """Raise UnprocessableError for options that an array cannot follow."""
    errors = [
        ErrorItem(loc=[name], msg=f"it is of answers in JSON, and {form} is accepted: leave it out, or accept {JSON}")
        for name, value in options.items()
        if value is not None
    ]
    if errors:
        msg = f"{errors[0].loc[0]}: {errors[0].msg}"
        raise UnprocessableError(msg, errors=errors)


def array_response(answer: ArrayAnswer, form: Form) -> Response:
    """Return an answer as an array."""
    numbers = np.ascontiguousarray(answer.numbers)
    numbers = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    headers = {
        "Graftwork-Answer": _described(answer),
        "Graftwork-Warnings": str(len(answer.warnings)),
        "Link": f'</v1/models/{answer.model.id}>; rel="describedby"',
    }
    if form == NPY:
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(numbers))
        return pieces_response([file.getvalue(), *array_pieces(numbers)], NPY, **headers)
    shape = ",".join(map(str, numbers.shape))
    return pieces_response(array_pieces(numbers), f'{RAW}; dtype={numbers.dtype.name}; shape="{shape}"', **headers)


def _described(answer: ArrayAnswer) -> str:
    """Return what is said with the numbers, as JSON in ASCII; what is too long for a header, in short."""
    warnings = [warning.model_dump(mode="json") for warning in answer.warnings]
    said = {
        "model": answer.model.model_dump(),
        "dtype": answer.numbers.dtype.name,
        "shape": answer.numbers.shape,
        "head": answer.head,
        "names": answer.names,
        "omitted": answer.omitted,
        "warnings": warnings,
    }
    short = [{"code": warning.code, "count": warning.count, "rows": warning.rows} for warning in answer.warnings]
    for shorter in ({}, {"names": None}, {"warnings": short}):  # names: null: they are those of the model
        said |= shorter
        text = json.dumps(said)
        if len(text) <= MAX_HEADER_BYTES:
            break
    return text
