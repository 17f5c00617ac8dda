"""Puts the service by its defaults beside simple things, over HTTP: `python -m bench.simple --data DIR --cache DIR`.

`--data` holds what bench/quality reads from there, too: banking77 and mnist1d.npz. Packages are fetched into `--cache`
once, and what the simple things score is kept there. With `--blind` everything is asked twice, the second time with
permuted test labels, and no byte of any model may change.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from blind import differences
from protocol import DRAWS, TRAIN_ONLY, Lab
from service import service
from sources import MissingDataError

from bench.simple import images, report, series, tables, texts
from bench.simple.asked import ask
from bench.simple.baseline_cache import BaselineCache
from bench.simple.sets import Draw, Set, Source, draws
from bench.simple.verdicts import Cell, Scores, scores
from graftwork import GraftworkWarning

SOURCES: dict[str, Source] = {
    name: source for kind in (tables, series, texts, images) for name, source in kind.sources().items()
}
QUICK = ("iris", "Glass", "Servo", "BasicMotions", "subjects", "digit images")


def main() -> None:
    """Run what the command line names, by default all."""
    arguments = _arguments()
    warnings.simplefilter("ignore", GraftworkWarning)
    if arguments.blind:
        prove(arguments)
        return
    cells = report.load(arguments.merge) if arguments.merge else measure(arguments)[0]
    if arguments.write:
        report.write(cells)
    print(report.markdown(cells))
    print("\n".join(report.verdicts(cells)))


def measure(arguments: argparse.Namespace, *, permuted: bool = False) -> tuple[list[Cell], Lab]:
    """Measure all sets on a new service; cells are written one by one, so that an aborted run keeps them."""
    cache = BaselineCache(arguments.cache / "baselines.json", fresh=arguments.baselines == "fresh")
    cells: list[Cell] = []
    with service(threads=1) as client:
        lab = Lab(client)
        for data in _sets(arguments):
            for cell in _cells(lab, data, cache, arguments, permuted=permuted):
                print(report.line(cell), flush=True)
                cells.append(cell)
                if arguments.keep:
                    report.save(cells, arguments.keep)
    return cells, lab


def prove(arguments: argparse.Namespace) -> None:
    """Ask twice, the second time with permuted test labels; exit with 1 if any model differs."""
    first, second = (measure(arguments, permuted=permuted)[1].digests for permuted in (False, True))
    if changed := differences(first, second):
        sys.exit(f"test labels change models: {'; '.join(changed)}")
    print(f"blind: {len(first)} models, each the same to the last byte under permuted test labels")


def _sets(arguments: argparse.Namespace) -> Iterator[Set]:
    for name in arguments.only:
        try:
            yield SOURCES[name](arguments.data, arguments.cache)
        except MissingDataError as missing:
            print(f"{name}: {missing} is missing, so it is left out", flush=True)


def _cells(
    lab: Lab, data: Set, cache: BaselineCache, arguments: argparse.Namespace, *, permuted: bool
) -> Iterator[Cell]:
    drawn = draws(data, range(arguments.draws))
    for labels in dict.fromkeys(draw.labels for draw in drawn):
        yield _cell(lab, [draw for draw in drawn if draw.labels == labels], cache, arguments, permuted=permuted)


def _cell(
    lab: Lab, drawn: Sequence[Draw], cache: BaselineCache, arguments: argparse.Namespace, *, permuted: bool
) -> Cell:
    simple = [cache.of(draw) for draw in drawn]
    asked = [_asked(lab, draw.permuted() if permuted else draw, arguments) for draw in drawn]
    return Cell(
        set=drawn[0].set.name,
        modality=drawn[0].set.modality,
        labels=drawn[0].labels,
        tests=[draw.test for draw in drawn],
        service=[one for one, _ in asked],
        simple={name: [one[name] for one in simple] for name in simple[0]},
        taken="; ".join(dict.fromkeys(taken for _, taken in asked)),
    )


def _asked(lab: Lab, draw: Draw, arguments: argparse.Namespace) -> tuple[Scores, str]:
    options = {"splits": TRAIN_ONLY} if arguments.splits == "train" else {}
    result, taken = ask(lab, draw, arguments.limit, **options)
    return scores(draw, result), taken


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="folder of the public data, as for bench/quality"
    )
    default = os.environ.get("GRAFTWORK_BENCH_CACHE", str(Path.home() / ".cache" / "graftwork-bench"))
    parser.add_argument("--cache", type=Path, default=Path(default), help="folder of packages and of baselines")
    parser.add_argument("--only", nargs="+", choices=[*SOURCES], default=[*SOURCES], metavar="SET", help="these sets")
    parser.add_argument("--quick", action="store_true", help="one draw of a few sets")
    parser.add_argument("--draws", type=int, default=len(DRAWS), help="of the labels")
    parser.add_argument("--baselines", choices=("cached", "fresh"), default="cached", help="fresh: run them again")
    parser.add_argument("--splits", choices=("default", "train"), default="default", help="train: all rows are train")
    parser.add_argument("--limit", type=float, default=900, help="wall seconds after which a job is cancelled")
    parser.add_argument("--keep", type=Path, help="write the scores as JSON into this file")
    parser.add_argument("--merge", type=Path, nargs="+", help="measure nothing: report what these files keep")
    parser.add_argument("--write", action="store_true", help="write the report into docs/figures.md")
    parser.add_argument("--blind", action="store_true", help="prove that no test label reaches a job")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.only, arguments.draws = [name for name in arguments.only if name in QUICK], 1
    return arguments


if __name__ == "__main__":
    main()
