"""Loads an exported model: it needs torch and safetensors alone.

model = load("folder")    # the unpacked package
answers = model(rows)     # {name: tensor (N, ...)} for rows (N, ...), as "description" in program.json says
"""

import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def load(folder: Path | str) -> Callable[[Any], dict[str, torch.Tensor]]:
    """Read the program and its tensors, and return a function of rows (N, ...)."""
    program = json.loads((Path(folder) / "program.json").read_text(encoding="utf-8"))
    files = {name: load_file(Path(folder) / name) for name in program["files"]}
    tensors = {name: files[file][key] for name, (file, key) in program["tensors"].items()}

    @torch.no_grad()
    def model(rows: Any) -> dict[str, torch.Tensor]:
        values = {**tensors, program["input"]: torch.as_tensor(rows)}
        for name, call, arguments, options, unused in program["steps"]:
            given = {key: value_of(option, values) for key, option in options.items()}
            values[name] = function_of(call)(*(value_of(argument, values) for argument in arguments), **given)
            for other in unused:  # no later step needs it
                del values[other]
        return {name: values[step] for name, step in program["outputs"].items()}

    return model


def function_of(call: str) -> Callable[..., Any]:
    """Return what a step calls: one of torch's own operators, or arithmetic with sizes."""
    module, name, *overload = call.split(".")
    operators = {function.__name__: function for function in ARITHMETIC}
    operation: Callable[..., Any] = (
        getattr(getattr(torch.ops.aten, name), *overload) if module == "aten" else operators[name]
    )
    return operation


def value_of(argument: Any, values: dict[str, Any]) -> Any:
    """Return an argument of a step: the result of another one, a constant of torch, a list of these, or itself."""
    if isinstance(argument, list):
        return [value_of(entry, values) for entry in argument]
    if not isinstance(argument, dict):
        return argument
    ((kind, name),) = argument.items()
    return values[name] if kind == "step" else float(name) if kind == "float" else getattr(torch, name)


ARITHMETIC = (operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv)
