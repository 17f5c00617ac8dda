"""A real MLflow tracking server, and its real client, which reads what was written."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.kit.process import free_port
from tests.support.programs import program
from tests.support.servers import HANGS, wait_until

READ = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
for name in sys.stdin:
    experiment = client.get_experiment_by_name(name.strip())
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    print(json.dumps([{
        "id": run.info.run_id, "name": run.info.run_name, "status": run.info.status,
        "start": run.info.start_time, "end": run.info.end_time,
        "params": run.data.params, "tags": run.data.tags,
        "metrics": {key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key)]
                    for key in run.data.metrics},
        "datasets": [[i.dataset.name, i.dataset.digest, i.dataset.source] for i in run.inputs.dataset_inputs],
    } for run in runs]), flush=True)
"""


@dataclass
class Mlflow:
    """A server and its client."""

    url: str
    client: "subprocess.Popen[str]"

    def runs(self, experiment: str = "graftwork") -> list[Any]:
        """All that its client reads of the runs of an experiment."""
        assert self.client.stdin is not None
        assert self.client.stdout is not None
        print(experiment, file=self.client.stdin, flush=True)
        runs: list[Any] = json.loads(self.client.stdout.readline())
        return runs


@contextmanager
def tracking_server(folder: Path) -> Iterator[Mlflow]:
    """A server that keeps its runs in a folder; the test is skipped where MLflow is not installed."""
    bin_folder, port = program("mlflow"), free_port()
    # Its own packages, none of ours.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(folder),
    }
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [bin_folder / "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", *options]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        try:
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, "MLflow answers")
        reader = [bin_folder / "python", "-c", READ, url]
        with subprocess.Popen(
            reader, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            yield Mlflow(url, client)
            assert client.stdin is not None
            client.stdin.close()
    finally:
        os.killpg(server.pid, 15)
        server.wait(HANGS)
