"""A graph as JSON: a list of calls of torch's own operators, which `load.py` repeats.

    files      the files that hold tensors
    tensors    {name: [file, key]} of weights and constants
    input      the name of the input
    steps      [name, call, arguments, options, names that no later step uses]
    outputs    {name: name of the step}

An argument is a number, a string, a list of arguments, {"step": name}, {"torch": constant} or {"float": "inf"}.
"""

import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.export.graph_signature import InputKind

from app.ml.data.tensor_file import Tensors
from app.ml.errors import ExportError
from app.ml.exports.graph import Graph
from app.ml.models.bundle import BACKBONE, HEADS

CONSTANTS = "program.safetensors"
_ARITHMETIC = {
    operator.getitem: "getitem",
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    operator.floordiv: "floordiv",
}
_CHECKS = ("_assert", "sym_constrain", "_check")  # of what holds anyway
_NAMED = (torch.dtype, torch.memory_format, torch.layout)


def program_of(graph: Graph, stored: Mapping[str, Tensors]) -> tuple[dict[str, Any], Tensors]:
    """Return a graph as JSON, and the tensors that the `stored` files, by name, do not hold.

    Raises:
        ExportError: the graph calls something else than torch's operators.
    """
    tensors, constants = _tensors(graph, stored)
    nodes = [node for node in graph.program.graph.nodes if node.op == "call_function" and not _is_check(node)]
    (results,) = next(node for node in graph.program.graph.nodes if node.op == "output").args
    inputs = [spec.arg.name for spec in graph.program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT]
    outputs = {port.name: result.name for port, result in zip(graph.description.outputs, results, strict=True)}
    kept = {*tensors, *outputs.values()}
    program = {
        "files": sorted({file for file, _ in tensors.values()}),
        "tensors": tensors,
        "input": inputs[0],
        "steps": _steps(nodes, kept),
        "outputs": outputs,
    }
    return program, constants


def _tensors(graph: Graph, stored: Mapping[str, Tensors]) -> tuple[dict[str, tuple[str, str]], Tensors]:
    """Return where each tensor of a graph lies, and those that lie in none of the stored files."""
    program = graph.program
    places: dict[str, tuple[str, str]] = {}
    constants: Tensors = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            continue
        target = str(spec.target)
        module, _, key = target.partition(".")
        file = {"backbone": BACKBONE, "heads": HEADS}.get(module, "")
        if key in stored.get(file, {}):
            places[spec.arg.name] = (file, key)
        else:
            tensor = program.state_dict.get(target, program.constants.get(target))
            if not isinstance(tensor, Tensor):
                msg = f"this model's graph needs {target}, which is no tensor"
                raise ExportError(msg)
            constants[target] = tensor.clone()
            places[spec.arg.name] = (CONSTANTS, target)
    return places, constants


def _steps(nodes: list[fx.Node], kept: set[str]) -> list[list[Any]]:
    """Return the calls in order, each with the names that no later one uses."""
    steps: list[list[Any]] = []
    used: set[str] = set(kept)
    for node in reversed(nodes):
        names = {node.name, *(source.name for source in node.all_input_nodes)}
        unused = sorted(names - used)
        used |= names
        options = {key: _argument(value) for key, value in node.kwargs.items() if key != "device"}
        steps.append([node.name, _call(node), [_argument(value) for value in node.args], options, unused])
    return steps[::-1]


def _is_check(node: fx.Node) -> bool:
    name = getattr(node.target, "__name__", "")
    return name.startswith(_CHECKS) or (not node.users and name not in _ARITHMETIC.values())


def _call(node: fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":  # noqa: SLF001 - torch names it nowhere else
        return str(target)
    if target in _ARITHMETIC:
        return f"operator.{_ARITHMETIC[target]}"
    msg = f"this model's graph calls {target}, which no loader knows"
    raise ExportError(msg)


def _argument(value: Any) -> Any:
    match value:
        case fx.Node():
            return {"step": value.name}
        case list() | tuple():
            return [_argument(entry) for entry in value]
        case float() if not math.isfinite(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
        case _ if isinstance(value, _NAMED):
            return {"torch": str(value).removeprefix("torch.")}
        case torch.device():
            return str(value)
    msg = f"this model's graph has the argument {value!r}, which no loader knows"
    raise ExportError(msg)
