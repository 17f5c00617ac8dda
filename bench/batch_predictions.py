"""Measures batch predictions: `python -m bench.batch_predictions [FORM ...] [ROWS ...]`.

For each form of file and number of rows: the rows per second of a job, and the peak memory of the process that runs it,
which should not grow with the rows. Forms are csv, json (a list of rows), columns (an object of lists), zip (ten
tables) and long (series with a line for each of their steps, which count as rows here, in random order).
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import select

from app.cli.prepare import prepare
from app.db.tables import ProjectRow
from app.main import create_app
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import COLUMNS, add_bundle, add_model, bundle_of
from tests.support.servers import KEY

ROWS = (100_000, 1_000_000)
_BLOCK, _PARTS, _STEPS = 50_000, 10, 10
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
    forms = [argument for argument in sys.argv[1:] if argument in FORMS] or ["csv"]
    for form in forms:
        for rows in [int(argument) for argument in sys.argv[1:] if argument not in FORMS] or ROWS:
            print(_measured(form, rows), flush=True)


def _measured(form: str, rows: int) -> str:
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch:
        settings = Settings(data=Path(scratch) / "data", bootstrap_key=KEY)
        prepare(settings, invent_key=False)
        size = _submit(settings, form, rows, Path(scratch) / "rows")
        command = [sys.executable, "-c", _RUN, str(settings.data_folder)]
        done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    speed, cpu = rows / done["seconds"], f"{done['cpu']:.0f} s of CPU"
    about = f"{form:>8} {rows:>10,} rows, {size / 1e6:6.0f} MB: {speed:8,.0f} rows/s, {cpu}"
    return f"{about}, peak {done['peak_mb']:.0f} MB"


def _submit(settings: Settings, form: str, rows: int, path: Path) -> int:
    """Write a file of rows with ids, queue the job that answers it, and return the size of the file in bytes."""
    FORMS[form](path, rows)
    app = create_app(settings)
    with app.state.services.database.reading() as session:
        project = session.scalars(select(ProjectRow.id)).one()
    data = {"model": "sizes"}
    if form == "long":
        data["series"] = json.dumps({"id": "id", "time": "t"})
        add_bundle(app.state.services, project, "sizes", bundle_of("series"))
    else:
        add_model(app.state.services, project, "sizes")
    with path.open("rb") as file:
        answer = Http(app, KEY).post("/v1/batch_predictions", files={"file": (path.name, file)}, data=data)
    answer.raise_for_status()
    app.state.services.database.close()
    return path.stat().st_size


def _blocks(rows: int) -> Iterator[list[list[str]]]:
    """Yield rows of an id and three numbers."""
    random = np.random.default_rng(0)
    for start in range(0, rows, _BLOCK):
        block = random.normal(size=(min(_BLOCK, rows - start), len(COLUMNS))).round(4).tolist()
        yield [[f"c{start + place}", *map(str, row)] for place, row in enumerate(block)]


def _write_csv(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(f"id,{','.join(COLUMNS)}\n")
        for block in _blocks(rows):
            file.writelines(f"{','.join(row)}\n" for row in block)


def _write_zip(path: Path, rows: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, tempfile.TemporaryDirectory() as scratch:
        for part in range(_PARTS):
            table = Path(scratch) / "part.csv"
            _write_csv(table, rows // _PARTS)
            archive.write(table, f"part-{part}.csv")


def _write_list(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        separator = "["
        for block in _blocks(rows):
            for name, *numbers in block:
                members = ", ".join(f'"{key}": {number}' for key, number in zip(COLUMNS, numbers, strict=True))
                file.write(f'{separator}{{"id": "{name}", {members}}}')
                separator = ",\n"
        file.write("]")


def _write_columns(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for place, name in enumerate(("id", *COLUMNS)):
            file.write(f'{", " if place else "{"}"{name}": [')
            for number, block in enumerate(_blocks(rows)):
                cells = (f'"{row[0]}"' if place == 0 else row[place] for row in block)
                file.write(f"{', ' if number else ''}{', '.join(cells)}")
            file.write("]")
        file.write("}")


def _write_long(path: Path, rows: int) -> None:
    """Write series of so many steps as the model takes, the lines of all of them in random order."""
    with path.open("w", encoding="utf-8") as file:
        file.write("id,t,left,right\n")
        for line in np.random.default_rng(0).permutation(rows).tolist():
            file.write(f"c{line // _STEPS},{line % _STEPS},{line % 7},{line % 5}\n")


FORMS = {
    "csv": _write_csv,
    "json": _write_list,
    "columns": _write_columns,
    "zip": _write_zip,
    "long": _write_long,
}


if __name__ == "__main__":
    main()
