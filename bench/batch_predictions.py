"""Measures batch predictions: `python -m bench.batch_predictions [ROWS ...]`.

For each number of rows: the rows per second of a job on a CSV file, and the peak memory of the process that runs it,
which should not grow with the rows.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sqlalchemy import select

from app.cli.prepare import prepare
from app.db.tables import ProjectRow
from app.main import create_app
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import COLUMNS, add_model
from tests.support.servers import KEY

ROWS = (100_000, 1_000_000)
_BLOCK = 50_000
_RUN = """
import json, resource, sys, time
from pathlib import Path
from app.settings import Settings
from tests.support.work import run_jobs
began = time.monotonic()
run_jobs(Settings(data=Path(sys.argv[1])))
usage = resource.getrusage(resource.RUSAGE_SELF)
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps({"seconds": time.monotonic() - began, "cpu": cpu, "peak_mb": usage.ru_maxrss / 1024}))
"""


def main() -> None:
    """Run all measurements and print them."""
    for rows in [int(argument) for argument in sys.argv[1:]] or ROWS:
        with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch:
            settings = Settings(data=Path(scratch) / "data", bootstrap_key=KEY)
            prepare(settings, invent_key=False)
            size = _submit(settings, rows, Path(scratch) / "rows.csv")
            command = [sys.executable, "-c", _RUN, str(settings.data_folder)]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        speed = rows / done["seconds"]
        cpu = f"{done['cpu']:.0f} s of CPU"
        print(f"{rows:>10,} rows, {size / 1e6:6.0f} MB: {speed:8,.0f} rows/s, {cpu}, peak {done['peak_mb']:.0f} MB")


def _submit(settings: Settings, rows: int, path: Path) -> int:
    """Write a file of rows with ids, queue the job that answers it, and return the size of the file in bytes."""
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"id,{','.join(COLUMNS)}\n")
        for start in range(0, rows, _BLOCK):
            block = random.normal(size=(min(_BLOCK, rows - start), len(COLUMNS))).round(4).tolist()
            file.writelines(f"c{start + k},{','.join(map(str, row))}\n" for k, row in enumerate(block))
    app = create_app(settings)
    with app.state.services.database.reading() as session:
        project = session.scalars(select(ProjectRow.id)).one()
    add_model(app.state.services, project, "sizes")
    files = {"file": ("rows.csv", path.read_bytes())}
    answer = Http(app, KEY).post("/v1/batch_predictions", files=files, data={"model": "sizes"})
    answer.raise_for_status()
    app.state.services.database.close()
    return path.stat().st_size


if __name__ == "__main__":
    main()
