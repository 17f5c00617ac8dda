"""README's five minutes, run as they stand there: the Python, and the commands for curl."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import HANGS, KEY, Service

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two files that README makes."""
    target = tmp_path_factory.mktemp("readme")
    (snippet,) = re.findall(r"python - <<'PY'\n(.*?)\n    PY\n", README, re.DOTALL)
    code = "\n".join(line.removeprefix("    ") for line in snippet.splitlines())
    subprocess.run([sys.executable, "-c", code], cwd=target, check=True)
    return target


def test_the_python_of_the_readme(running: Service, folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = f"KEY = {KEY!r}\n" + code.replace("http://127.0.0.1:8000", running.url)
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    accuracy, predictions, shape = result.stdout.strip().splitlines()
    assert float(accuracy) > 0.5
    assert predictions.count("probabilities") == 3
    assert shape.startswith("(3, ")


def test_the_commands_of_the_readme(running: Service, folder: Path) -> None:
    (section,) = re.findall(r"### With curl\n(.*?)### With Python", README, re.DOTALL)
    lines = re.sub(r"\n {10,}", " ", section)  # a command that goes on
    function = next(line.strip() for line in lines.splitlines() if line.strip().startswith("api()"))
    prelude = f"KEY={KEY}\n" + function.replace("http://127.0.0.1:8000", running.url)

    def run(command: str) -> str:
        script = f"{prelude}\n{command}"
        return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True).stdout

    commands = [line.strip().split("  #")[0] for line in lines.splitlines() if re.match(r" {4}api /", line)]
    assert len(commands) == 7
    upload, upload_labelled, look, pretrain, follow, fine_tune, predict = commands
    datasets = [json.loads(run(one))["id"] for one in (upload, upload_labelled)]
    with running.client() as graftwork:
        for dataset in datasets:
            graftwork.datasets.wait(dataset)
    assert run(look).count('"ready"') >= 2
    job = json.loads(run(pretrain.replace("ds_...", datasets[0])))["id"]
    assert "event: job.succeeded" in run(follow.replace("job_...", job))
    job = json.loads(run(fine_tune.replace("ds_...", datasets[1])))["id"]
    with running.client() as graftwork:
        graftwork.jobs.wait(job, timeout=HANGS)
    row = "[0, 0, 79, 206, 143, 15, 0, 0]"
    image = ", ".join([row] * 8)
    answer = json.loads(run(predict.replace(f"{row}, ...", image)))
    assert set(answer["predictions"][0]["label"]) == {"class", "probabilities"}
