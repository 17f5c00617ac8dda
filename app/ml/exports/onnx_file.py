"""A graph as one ONNX file, with what it takes and answers in its metadata."""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from app.ml.errors import ExportError
from app.ml.exports.golden import Run, check_golden
from app.ml.exports.graph import Graph, reason_of

FILE = "model.onnx"
MAX_BYTES = 1_900_000_000  # one file is one protobuf message, which has at most 2 GiB
OTHER_FORM = 'ask for {"format": "safetensors"}'


def write_onnx(graph: Graph, path: Path) -> float:
    """Write a graph as ONNX once onnxruntime has answered the golden rows; return the largest difference.

    Raises:
        ExportError: an operator of the model has no ONNX form, or the answers differ; it names the other format.
    """
    size = sum(tensor.nbytes for tensor in graph.program.state_dict.values())
    if size > MAX_BYTES:
        msg = f"the weights have {size} bytes, and one ONNX file at most 2 GiB: {OTHER_FORM}"
        raise ExportError(msg)
    content = _converted(graph)
    difference = check_golden(graph, _runner(graph, content), "ONNX")
    path.write_bytes(content)
    return difference


def _converted(graph: Graph) -> bytes:
    description = graph.description
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the converter, about itself
            program = torch.onnx.export(
                graph.program,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[description.input.name],
                output_names=[port.name for port in description.outputs],
            )
    except Exception as error:  # the converter raises whatever it meets, and all of it means the same
        msg = f"this model has no ONNX form: {reason_of(error)}; {OTHER_FORM}"
        raise ExportError(msg) from error
    assert program is not None
    program.model.metadata_props["graftwork"] = json.dumps(description.model_dump(mode="json"))
    buffer = io.BytesIO()
    program.save(buffer, external_data=False)  # type: ignore[arg-type]
    return buffer.getvalue()


def _runner(graph: Graph, content: bytes) -> Run:
    import onnxruntime  # noqa: PLC0415 - only exports need it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in graph.description.outputs]

    def run(rows: Tensor) -> dict[str, Tensor]:
        results = session.run(names, {graph.description.input.name: np.ascontiguousarray(rows.numpy())})
        return {name: torch.from_numpy(result) for name, result in zip(names, results, strict=True)}

    return run
