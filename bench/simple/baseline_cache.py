"""Keeps what simple things score, so that another run costs only the service's part."""

import json
from pathlib import Path

from bench.simple.baselines import baselines, run
from bench.simple.sets import Draw
from bench.simple.verdicts import Scores, scores


class BaselineCache:
    """A JSON file of the scores of each draw; those of other rows than the draw's are computed anew."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._path = path
        self._draws = json.loads(path.read_text(encoding="utf-8")) if path.exists() and not fresh else {}

    def of(self, draw: Draw) -> dict[str, Scores]:
        """Return the scores of each simple thing on a draw."""
        entry = self._draws.get(draw.key)
        if entry is None or entry["rows"] != draw.rows_digest:
            entry = {"rows": draw.rows_digest, "simple": {}}
            for name, make in baselines(draw).items():
                result = scores(draw, run(draw, make))
                entry["simple"][name] = [result.rows, result.cpu_seconds]
            self._draws[draw.key] = entry
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._draws, separators=(",", ":")), encoding="utf-8")
        return {name: Scores(tuple(rows), seconds) for name, (rows, seconds) in entry["simple"].items()}
