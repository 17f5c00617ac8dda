"""An export as a job: the model as one file of the job, once that file has answered the model's golden rows."""

import time
from typing import Any

from app.artifacts import link_files
from app.ml.exports.golden import ATOL, RTOL
from app.ml.exports.graph import graph_of
from app.ml.exports.onnx_file import FILE as ONNX_FILE
from app.ml.exports.onnx_file import write_onnx
from app.ml.exports.package import FILE as PACKAGE
from app.ml.exports.package import write_package
from app.ml.models.bundle import golden_rows, read_bundle
from app.models import repository as models
from worker.attempt.context import JobContext
from worker.attempt.reporter import progress_of


def run(context: JobContext) -> None:
    """Read the model, trace it, write the file, and keep it."""
    attempt, config = context.attempt, context.job.config
    began = time.monotonic()
    attempt.report(progress_of(0, 1, 0, None), [], "loading")
    row = attempt.commit_with_retry(lambda session: models.get(session, config["model"]))
    folder, result = context.folder / "model", context.folder / "export"
    bundle = read_bundle(link_files(attempt.artifacts, row.files, folder))
    result.mkdir()
    attempt.enter("running", "exporting", f"Exporting {row.name}@{row.version} as {config['format']}.")
    model = {"id": row.id, "name": row.name, "version": row.version}
    golden, rows = golden_rows(folder, bundle.manifest)
    graph = graph_of(bundle, golden, rows, model)
    context.stop_if_draining()
    if config["format"] == "onnx":
        difference = write_onnx(graph, result / ONNX_FILE)
    else:
        difference = write_package(graph, folder, sorted(row.files), result / PACKAGE)
    attempt.enter("finalizing", "exporting", "The file answers as the model does.")
    files = attempt.keep(result)
    metrics: dict[str, Any] = {
        "format": config["format"],
        "golden_rows": len(rows),
        "largest_difference": difference,
        "tolerance": {"relative": RTOL, "absolute": ATOL},
        "seconds": round(time.monotonic() - began, 3),
        **graph.description.model_dump(mode="json", include={"input", "outputs", "heads"}),
    }
    attempt.succeed_with("Exported.", metrics, files)
