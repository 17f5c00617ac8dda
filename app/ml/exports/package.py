"""A package: the model's own files, its graph as a program, and a loader that needs torch and safetensors alone.

It is a zip. `POST /v1/models` with `architecture=graftwork` makes the same model of it again.
"""

import json
import zipfile
from pathlib import Path

from app.ml.data import tensor_file
from app.ml.exports import load
from app.ml.exports.golden import check_golden
from app.ml.exports.graph import Graph
from app.ml.exports.program import CONSTANTS, program_of
from app.ml.models.bundle import BACKBONE, HEADS

FILE = "model.zip"
PROGRAM = "program.json"
LOADER = "load.py"


def write_package(graph: Graph, folder: Path, names: list[str], path: Path) -> float:
    """Add program and loader to the model's files `names` in a folder, and pack all once the loader has answered.

    Returns the largest difference to the golden rows' answers.

    Raises:
        ExportError: something in the graph is not known to the loader, or the answers differ.
    """
    stored = {name: tensor_file.read(folder / name)[0] for name in (BACKBONE, HEADS) if name in names}
    program, constants = program_of(graph, stored)
    program["description"] = graph.description.model_dump(mode="json")
    (folder / PROGRAM).write_text(json.dumps(program, ensure_ascii=False), encoding="utf-8")
    (folder / CONSTANTS).write_bytes(tensor_file.to_bytes(constants))
    (folder / LOADER).write_bytes(Path(load.__file__).read_bytes())
    difference = check_golden(graph, load.load(folder), "safetensors")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # weights hardly become smaller
        for name in (*names, PROGRAM, CONSTANTS, LOADER):
            archive.write(folder / name, name)
    return difference
