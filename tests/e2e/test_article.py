"""docs/article.md, run as it stands: requests over HTTP, jobs by the runner of workers, answers as they are shown."""

import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.kit import strict_json
from app.settings import Settings
from tests.support.http import Http
from tests.support.work import run_jobs

ARTICLE = (Path(__file__).parents[2] / "docs" / "article.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^|\n)([^\n]+)\n\n```json\n(.*?)\n```", re.DOTALL)
CALL = re.compile(r"`(GET|POST) (/v1/[^`]+)`")
NEAR = 0.15  # of a measured number, or this much of it where it is above 1


@dataclass
class Reader:
    """Goes through the page: what it asks and what it was answered."""

    client: Http
    settings: Settings
    folder: Path
    datasets: dict[str, str] = field(default_factory=dict)  # ids by name
    last: dict[str, str] = field(default_factory=dict)  # the ids that `ds_...` and `job_...` stand for
    answer: Any = None

    def read(self, sentence: str, body: Any) -> None:
        """Take one block: a body to send, or an answer to compare."""
        call = CALL.search(sentence)
        if call and call[1] == "POST":
            self._post(self._filled(call[2]), strict_json.loads(self._filled(json.dumps(body)).encode()), sentence)
            return
        if call:
            self.answer = self.client.get(self._filled(call[2])).json()
        assert "answers" in sentence, sentence
        compare(self.answer, body, sentence)

    def _post(self, path: str, body: dict[str, Any], sentence: str) -> None:
        if path == "/v1/datasets":
            file = (self.folder / body["file"]).read_bytes()
            fields = {key: value if isinstance(value, str) else json.dumps(value) for key, value in body.items()}
            response = self.client.post(path, data=fields, files={"file": (fields.pop("file"), file)})
        else:
            response = self.client.post(path, json=body)
        assert response.status_code == 422 if "422" in sentence else response.is_success, (path, response.text)
        self.answer = response.json()
        kind = self.answer.get("object")
        if kind in ("dataset", "job"):
            self.last["ds" if kind == "dataset" else "job"] = self.answer["id"]
            run_jobs(self.settings)
        if kind == "dataset":
            self.datasets[self.answer["name"]] = self.answer["id"]

    def _filled(self, text: str) -> str:
        text = re.sub(r"\b(ds|job)_\.\.\.", lambda found: self.last[found[1]], text)
        return re.sub(r"\bds_([a-z]+)\b", lambda found: self.datasets[found[1]], text)


def compare(answer: Any, shown: Any, place: str) -> None:
    """Assert that an answer holds what is shown: text up to "...", counts exactly, measured numbers nearly."""
    if isinstance(shown, dict):
        assert isinstance(answer, dict), place
        for key, value in shown.items():
            assert key in answer, f"{place}: no {key} among {sorted(answer)}"
            compare(answer[key], value, f"{place}, {key}")
    elif isinstance(shown, list):
        assert len(answer) >= len(shown), (place, answer)
        for index, value in enumerate(shown):
            compare(answer[index], value, f"{place}, {index}")
    elif isinstance(shown, float):
        assert math.isclose(answer, shown, rel_tol=NEAR, abs_tol=NEAR), (place, answer, shown)
    elif isinstance(shown, str) and shown.endswith("..."):
        assert answer.startswith(shown.removesuffix("...")), (place, answer)
    else:
        assert answer == shown, (place, answer, shown)


@pytest.mark.slow
@pytest.mark.timeout(600)  # thirty jobs, one after another
def test_the_requests_of_the_article_do_what_it_says(client: Http, settings: Settings, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", ARTICLE, re.DOTALL)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    reader = Reader(client, settings, tmp_path)
    blocks = BLOCK.findall(ARTICLE)
    assert len(blocks) == ARTICLE.count("```json")
    for sentence, body in blocks:
        reader.read(sentence, strict_json.loads(body.encode()))
