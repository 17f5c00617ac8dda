"""Learning quality, measured over HTTP: `python bench/quality --data DIR [--rows P1 P4]`; writes docs/quality.md."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # beside this folder stand the modules that all benches share

import images
import series
import speed
import tables
import texts
from protocol import Figure, Lab
from service import service
from sources import MissingDataError
from table import PAGE, line, write

Row = Callable[[Lab, Path], Iterator[Figure]]
ROWS: dict[str, Row] = {
    "P1": images.few_labels,  # and P2: one pretraining serves both
    "P3": images.autoencoders,
    "P4": series.probes,
    "P5": texts.banking,
    "P6": tables.probe,
    "P7": texts.language,
    "P8": speed.autoencoder,
}
NOTES = "<!-- notes -->\n"


def main() -> None:
    """Run the rows that were asked for; without any, all of them, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data, see sources.py")
    parser.add_argument("--rows", nargs="+", choices=sorted(ROWS), default=sorted(ROWS), help="only these")
    parser.add_argument("--keep", type=Path, help="also write the figures as JSON into this file")
    arguments = parser.parse_args()
    figures = list(run(arguments.rows, arguments.data))
    if arguments.keep:
        arguments.keep.write_text(json.dumps([vars(figure) for figure in figures], default=list))
    if set(arguments.rows) == set(ROWS):
        write(figures, _notes())


def run(rows: list[str], data: Path) -> Iterator[Figure]:
    """Measure on a service of its own."""
    with service(threads=os.cpu_count() or 1) as client:
        lab = Lab(client, say=print)
        for row in rows:
            try:
                for figure in ROWS[row](lab, data):
                    print(line(figure), end="", flush=True)
                    yield figure
            except MissingDataError as missing:
                print(f"{row}: {missing} is missing, so it is left out", flush=True)


def _notes() -> str:
    """What people wrote under the table stays."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return NOTES + text.partition(NOTES)[2]


if __name__ == "__main__":
    main()
