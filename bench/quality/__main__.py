"""Measures learning quality over HTTP: `python bench/quality --data DIR`; writes docs/quality.md.

Rows can be run one by one (`--rows P4 --keep p4.json`) and merged later (`--merge p1.json p4.json`). With `--blind`
rows run twice, the second time with permuted test labels, and no byte of any model may change.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the modules that all benches share

import images
import series
import speed
import tables
import texts
from blind import differences, permuted
from protocol import Figure, Lab
from service import service
from sources import MissingDataError
from table import line, load, save, write

Row = Callable[[Lab, Path], Iterator[Figure]]
ROWS: dict[str, Row] = {
    "P1": images.few_labels,  # and P2: they share one pretraining
    "P3": images.autoencoders,
    "P4": series.probes,
    "P5": texts.banking,
    "P6": tables.probe,
    "P7": texts.language,
    "P8": speed.autoencoder,
}


def main() -> None:
    """Run the rows named on the command line, by default all; write the page if all were run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--data", type=Path, help="folder of the public data, see sources.py")
    mode.add_argument(
        "--merge", type=Path, nargs="+", help="write the page from these files of figures; later ones win"
    )
    parser.add_argument("--rows", nargs="+", choices=sorted(ROWS), default=sorted(ROWS), help="only these")
    parser.add_argument("--keep", type=Path, help="write the figures as JSON into this file")
    parser.add_argument("--blind", action="store_true", help="prove that no test label reaches a job")
    arguments = parser.parse_args()
    if arguments.merge:
        write(load(arguments.merge))
    elif arguments.blind:
        prove(arguments.rows, arguments.data)
    else:
        figures, _ = measure(arguments.rows, arguments.data, arguments.keep)
        if set(arguments.rows) == set(ROWS):
            write(figures)


def measure(rows: Sequence[str], data: Path, file: Path | None = None) -> tuple[list[Figure], Lab]:
    """Measure rows on a new service; figures are written to `file` one by one, so that an aborted run keeps them."""
    figures: list[Figure] = []
    with service(threads=1) as client:
        lab = Lab(client)
        for figure in _figures(lab, rows, data):
            print(line(figure), end="", flush=True)
            figures.append(figure)
            if file:
                save(figures, file)
    return figures, lab


def prove(rows: Sequence[str], data: Path) -> None:
    """Run the rows twice, the second time with permuted test labels; exit with 1 if any model differs."""
    with tempfile.TemporaryDirectory(prefix="graftwork-blind-") as scratch:
        first, second = (measure(rows, folder)[1].digests for folder in (data, permuted(data, Path(scratch))))
    if changed := differences(first, second):
        sys.exit(f"test labels change models: {'; '.join(changed)}")
    print(f"blind: {len(first)} models, each the same to the last byte under permuted test labels")


def _figures(lab: Lab, rows: Sequence[str], data: Path) -> Iterator[Figure]:
    for row in rows:
        try:
            yield from ROWS[row](lab, data)
        except MissingDataError as missing:
            print(f"{row}: {missing} is missing, so it is left out", flush=True)


if __name__ == "__main__":
    main()
