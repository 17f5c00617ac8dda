"""Keeps what simple things score, so that another run costs only the service's part."""

import json
import os
from pathlib import Path
from typing import Any

from bench.simple.baselines import baselines, run
from bench.simple.sets import Draw
from bench.simple.verdicts import Scores, scores


class BaselineCache:
    """A JSON file of the scores of each draw; those of other rows than the draw's are computed anew."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._path = path
        self._draws = {} if fresh else self._read()

    def of(self, draw: Draw) -> dict[str, Scores]:
        """Return the scores of each simple thing on a draw."""
        entry = self._draws.get(draw.key)
        if entry is None or entry["rows"] != draw.rows_digest:
            entry = self._draws[draw.key] = {"rows": draw.rows_digest, "simple": {}}
        if missing := {name: make for name, make in baselines(draw).items() if name not in entry["simple"]}:
            for name, make in missing.items():
                result = scores(draw, run(draw, make))
                entry["simple"][name] = [result.rows, result.cpu_seconds]
            self._write(draw.key, entry)
        return {name: Scores(tuple(rows), seconds) for name, (rows, seconds) in entry["simple"].items()}

    def _read(self) -> dict[str, Any]:
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}

    def _write(self, key: str, entry: dict[str, Any]) -> None:
        """Add one draw to the file, which other runs write, too."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({**self._read(), key: entry}, separators=(",", ":")), encoding="utf-8")
        new.replace(self._path)
