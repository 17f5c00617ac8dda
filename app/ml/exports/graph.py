"""A model as one graph: stored rows in, the tensors of every head's answer out, with any number of rows.

What comes in is what a dataset stores: numbers, codes of categories and days of a table float64 (N, D), with NaN for a
missing value; a series float64 (N, T, C); pixels uint8 (N, H, W, C). They are standardised inside. Of texts the codes
of their tokens come in, int64 (N, T): a tokenizer is no arithmetic, and stays outside.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from app.ml.errors import ExportError
from app.ml.models.assembly import outputs_of
from app.ml.models.bundle import GOLDEN_ROWS, Bundle
from app.ml.spec import Frozen

EMBEDDING = "embedding"


class Port(Frozen):
    """An input or an output of an exported model; `shape` is that of a row."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Description(Frozen):
    """What an exported model takes and answers, for its manifest and the metadata of its file."""

    format: Literal[1] = 1
    model: dict[str, Any] = field(default_factory=dict)
    input: Port
    outputs: tuple[Port, ...]
    heads: tuple[dict[str, Any], ...]
    signature: dict[str, Any]


class ExportedModel(nn.Module):
    """A bundle as a module: rows (N, ...) to a tuple of outputs, each (N, ...)."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.encoder = bundle.manifest.modality.encoder()
        self.backbone = bundle.backbone
        self.heads = nn.ModuleList(bundle.heads.values())
        self.configs = [entry.config for entry in bundle.manifest.heads]
        self.strategy = bundle.manifest.strategy
        self.eval()

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors of every head in order, or without heads the features."""
        encoded = self.encoder(rows)
        if self.strategy is None:
            return (self.backbone(encoded),)
        heads = list(self.heads)
        outputs = outputs_of(self.backbone, self.strategy, self.configs, heads, encoded)  # type: ignore[arg-type]
        tensors = [head.answers(output) for head, output in zip(heads, outputs, strict=True)]  # type: ignore[operator]
        return tuple(tensor for of_head in tensors for tensor in of_head.values())


@dataclass(frozen=True, slots=True)
class Graph:
    """A model ready to be written: its program, golden rows with the answers to them, and what it is."""

    program: ExportedProgram
    rows: Tensor  # (8, ...)
    answers: dict[str, Tensor]  # by the name of the output
    description: Description


def graph_of(bundle: Bundle, golden: dict[str, Tensor], rows: Tensor, model: dict[str, Any]) -> Graph:
    """Trace a model on its golden rows. `rows` are these as the graph takes them, `model` says which it is.

    Raises:
        ExportError: something in the model has no graph that holds for any number of rows.
    """
    answers = _answers(bundle, golden)
    module = ExportedModel(bundle)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, about the insides of torch's own modules
            program = torch.export.export(module, (rows,), dynamic_shapes={"rows": {0: Dim("batch", min=1)}})
    except Exception as error:  # torch raises whatever it meets in a model, and all of it means the same
        kinds = ", ".join([bundle.manifest.backbone.kind, *(entry.config.kind for entry in bundle.manifest.heads)])
        msg = f"this model ({kinds}) has no graph that can be exported: {reason_of(error)}"
        raise ExportError(msg) from error
    modality = bundle.manifest.modality
    description = Description(
        model=model,
        input=_port(modality.export_input, rows),
        outputs=tuple(_port(name, tensor) for name, tensor in answers.items()),
        heads=tuple(
            _head(entry, head) for entry, head in zip(bundle.manifest.heads, bundle.heads.values(), strict=True)
        ),
        signature=modality.signature().model_dump(mode="json"),
    )
    return Graph(program, rows, answers, description)


def _answers(bundle: Bundle, golden: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the golden answers by the name of their output."""
    if not bundle.heads:
        return {EMBEDDING: golden["features"]}
    return {
        f"{key}.{name}": tensor
        for index, (key, head) in enumerate(bundle.heads.items())
        for name, tensor in head.answers(golden[f"head.{index}"]).items()
    }


def _head(entry: Any, head: Any) -> dict[str, Any]:
    config = entry.config.model_dump(mode="json")
    targets = [target.name for target in entry.targets]
    return {"key": entry.config.key, "config": config, "targets": targets, **head.answer_details()}


def _port(name: str, tensor: Tensor) -> Port:
    return Port(name=name, dtype=str(tensor.dtype).removeprefix("torch."), shape=tuple(tensor.shape[1:]))


def reason_of(error: BaseException) -> str:
    """Return the first line of the error that an error comes from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


assert GOLDEN_ROWS > 1  # one row alone would be traced as a constant
