"""Answers of a model become named tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from app.errors import ConflictError, UnprocessableError
from app.ml.interfaces import Rows
from app.ml.interfaces.answers import AnswerPart, PartType
from app.predictions.protocols.open_inference.schemas import OutputTensor, RequestedOutput, TensorMetadata
from app.predictions.protocols.open_inference.tensors import bytes_of, elements_of

EMBEDDINGS = "embeddings"
_DATATYPES: dict[PartType, tuple[str, str]] = {
    "text": ("BYTES", "O"),
    "number": ("FP64", "f8"),
    "probability": ("FP32", "f4"),
    "truth": ("BOOL", "?"),
    "count": ("INT64", "i8"),
}


@dataclass(frozen=True)
class Output:
    """A tensor that a model can answer with; `part` is of the head `head`, None for embeddings."""

    name: str
    datatype: str
    shape: tuple[int, ...]  # of one row
    labels: tuple[str, ...] = ()
    head: str | None = None
    part: AnswerPart | None = None

    @property
    def metadata(self) -> TensorMetadata:
        """Its description."""
        parameters = {"labels": list(self.labels)} if self.labels else {}
        return TensorMetadata(name=self.name, datatype=self.datatype, shape=[-1, *self.shape], parameters=parameters)


def outputs_of(parts: dict[str, tuple[AnswerPart, ...]], features: int) -> dict[str, Output]:
    """Return a model's outputs by name: for each head the answer itself and its further parts, then the embeddings.

    Raises:
        ConflictError: two heads are named so that two outputs have one name.
    """
    outputs = [
        Output(
            name=f"{head}.{part.name}" if part.name else head,
            datatype=_DATATYPES[part.type][0],
            shape=part.shape,
            labels=part.labels,
            head=head,
            part=part,
        )
        for head, of_head in parts.items()
        for part in of_head
    ]
    by_name = {output.name: output for output in outputs}
    if len(by_name) < len(outputs):
        names = [output.name for output in outputs]
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"two heads of this model would answer with a tensor {twice[:200]!r}: ask /v1/models/{{ref}}/predictions"
        raise ConflictError(msg, code="ambiguous_outputs")
    by_name.setdefault(EMBEDDINGS, Output(EMBEDDINGS, "FP32", (features,)))  # unless a head has that name
    return by_name


@dataclass(frozen=True)
class Selection:
    """An output as a request asks for it."""

    output: Output
    binary: bool
    top: int | None = None  # classes of a classification


def select(outputs: dict[str, Output], requested: Sequence[RequestedOutput] | None, *, binary: bool) -> list[Selection]:
    """Return the outputs that a request asks for, in its order: those of all heads unless it names some.

    Raises:
        UnprocessableError: there is no such output, or a parameter cannot be had.
    """
    if not requested:
        of_heads = [output for output in outputs.values() if output.head is not None]
        return [Selection(output, binary) for output in of_heads or outputs.values()]
    return [_selection(outputs, request, binary=binary) for request in requested]


def _selection(outputs: dict[str, Output], request: RequestedOutput, *, binary: bool) -> Selection:
    output = outputs.get(request.name)
    if output is None:
        nearest = get_close_matches(request.name, outputs, 1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(list(outputs)[:20])}"
        raise _refuse(request, f"the model has no such output; {hint}")
    parameters = dict(request.parameters)
    as_bytes = parameters.pop("binary_data", binary)
    top = parameters.pop("classification", None)
    if not isinstance(as_bytes, bool):
        raise _refuse(request, "binary_data is true or false")
    if top is not None and (output.datatype not in ("FP32", "FP64") or len(output.shape) != 1):
        raise _refuse(request, "a classification is of numbers (rows, classes)")
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
        raise _refuse(request, "classification is the number of classes, 1 or more")
    for key in parameters:
        raise _refuse(request, f"there is no parameter {key[:100]!r}; there are binary_data and classification")
    return Selection(output, as_bytes, top)


def _refuse(request: RequestedOutput, msg: str) -> UnprocessableError:
    return UnprocessableError(f"output tensor {request.name[:200]!r}: {msg}", code="invalid_tensor")


@dataclass
class Written:
    """Tensors of an answer: their descriptions, and the bytes that follow the JSON."""

    tensors: list[OutputTensor] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)

    def add(self, selection: Selection, array: Rows) -> None:
        """Write an output, an array (N, ...)."""
        datatype = selection.output.datatype
        if selection.top is not None:
            array, datatype = _classified(array, selection.top, selection.output.labels), "BYTES"
        tensor = OutputTensor(name=selection.output.name, datatype=datatype, shape=list(array.shape))
        if selection.binary:
            content = bytes_of(array)
            tensor.parameters = {"binary_data_size": len(content)}
            self.content.append(content)
        else:
            tensor.data = elements_of(array)
        self.tensors.append(tensor)


def array_of(output: Output, answers: Sequence[dict[str, Any]]) -> Rows:
    """Return the tensor (N, ...) of one part of a head's answers."""
    assert output.part is not None
    assert output.head is not None
    values = [output.part.read(answer[output.head]) for answer in answers]
    array: Rows = np.array(values, dtype=_DATATYPES[output.part.type][1])
    return array.reshape(len(answers), *output.shape)


def _classified(array: Rows, top: int, labels: Sequence[str]) -> Rows:
    """Return the `top` greatest of each row (N, K) as texts (N, top), value:index:label, as Triton writes them."""
    order = np.argsort(-array, axis=1, kind="stable")[:, :top]
    texts = np.empty(order.shape, dtype=object)
    for row, places in enumerate(order.tolist()):
        for rank, place in enumerate(places):
            label = f":{labels[place]}" if labels else ""
            texts[row, rank] = f"{array[row, place]:f}:{place}{label}"
    return texts
