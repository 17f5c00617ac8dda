"""What is printed and written: a table of all cells, and the verdicts; misses are written as misses."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.simple.verdicts import BOOSTINGS, SECONDS, Cell, Scores, mean

PAGE = Path(__file__).parents[2] / "docs" / "figures.md"
BEGIN, END = "<!-- simple -->\n", "<!-- /simple -->\n"
SHORT = {
    "1-NN": "1-NN",
    "logistic or ridge": "linear",
    "gradient boosting": "boosting",
    "random forest": "forest",
    "random kernels + ridge": "kernels",
}
HEAD = (
    "set",
    "labels",
    "service",
    *SHORT.values(),
    "gain over the best",
    "within one s.e.",
    "CPU s",
    "boosting",
    "cheap",
)


def markdown(cells: Sequence[Cell]) -> str:
    """Return the table."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    return "\n".join([*lines, *(f"| {' | '.join(_line(cell))} |" for cell in cells)]) + "\n"


def verdicts(cells: Sequence[Cell]) -> Iterable[str]:
    """Yield a sentence for each thing that is asked, with the misses."""
    beaten, costly = [cell for cell in cells if not cell.held], [cell for cell in cells if not cell.cheap]
    yield f"never more than one standard error below the best simple thing: {_misses(beaten, cells)}"
    for what, chosen in (("", cells), *((f" ({kind})", _of(cells, kind)) for kind in _kinds(cells))):
        ours = float(np.mean([mean(cell.service) for cell in chosen]))
        best = float(np.mean([mean(cell.simple[cell.best]) for cell in chosen]))
        single = {name: _mean_of(chosen, name) for name in chosen[0].simple if _everywhere(chosen, name)}
        name = max(single, key=lambda name: single[name])
        yield (
            f"mean{what}: the service {ours:.2f}, the best of each {best:.2f}, {name} everywhere {single[name]:.2f}: "
            f"{'met' if ours > best else 'missed, above the best single one' if ours > single[name] else 'missed'}"
        )
    yield f"within {BOOSTINGS} x the CPU seconds of boosting or {SECONDS:.0f} s: {_misses(costly, cells)}"


def save(cells: Sequence[Cell], path: Path) -> None:
    """Write all cells with their scores of each test row."""
    plain = [{**asdict(cell), "tests": [test.tolist() for test in cell.tests]} for cell in cells]
    path.write_text(json.dumps(plain, separators=(",", ":")), encoding="utf-8")


def load(paths: Iterable[Path]) -> list[Cell]:
    """Read the cells of several runs; of cells of the same set and labels the last one."""
    read = [_cell(fields) for path in paths for fields in json.loads(path.read_text(encoding="utf-8"))]
    return list({(cell.set, cell.labels): cell for cell in read}.values())


def write(cells: Sequence[Cell]) -> None:
    """Put the table and the verdicts between the marks of docs/figures.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    sentences = "".join(f"- {sentence}.\n" for sentence in verdicts(cells))
    PAGE.write_text(f"{before}{BEGIN}{sentences}\n{markdown(cells)}{END}{after}", encoding="utf-8")


def line(cell: Cell) -> str:
    """Return a cell as a line for people."""
    simple = ", ".join(f"{SHORT[name]} {mean(draws):.1f}" for name, draws in cell.simple.items())
    verdict = "" if cell.held else ", MISSED"
    cost = "" if cell.cheap else ", COSTLY"
    return (
        f"{cell.set} ({cell.labels}): {mean(cell.service):.1f} [{cell.taken}]; {simple}; "
        f"gain {cell.gain:+.1f} ± {cell.error:.1f}{verdict}; {cell.cpu_seconds:.1f} CPU s{cost}"
    )


def _cell(fields: dict[str, Any]) -> Cell:
    """Make a cell of what `save` has written."""
    of_simple = {name: [Scores(**draw) for draw in draws] for name, draws in fields["simple"].items()}
    ours = [Scores(**draw) for draw in fields["service"]]
    return Cell(
        **{**fields, "tests": [np.array(test) for test in fields["tests"]], "service": ours, "simple": of_simple}
    )


def _line(cell: Cell) -> list[str]:
    simple = [f"{mean(cell.simple[name]):.1f}" if name in cell.simple else "" for name in SHORT]
    boosting = f"{cell.boosting_seconds:.1f}" if cell.boosting_seconds else ""
    return [
        cell.set,
        cell.labels,
        f"{mean(cell.service):.1f}",
        *simple,
        f"{cell.gain:+.1f} ± {cell.error:.1f}",
        "yes" if cell.held else "**no**",
        f"{cell.cpu_seconds:.1f}",
        boosting,
        "yes" if cell.cheap else "**no**",
    ]


def _misses(missed: Sequence[Cell], cells: Sequence[Cell]) -> str:
    names = ", ".join(f"{cell.set} ({cell.labels}) {cell.gain:+.1f}, {cell.cpu_seconds:.0f} CPU s" for cell in missed)
    return f"missed in {len(missed)} of {len(cells)}: {names}" if missed else f"met in all {len(cells)}"


def _kinds(cells: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.modality for cell in cells))


def _of(cells: Sequence[Cell], kind: str) -> list[Cell]:
    return [cell for cell in cells if cell.modality == kind]


def _everywhere(cells: Sequence[Cell], name: str) -> bool:
    return all(name in cell.simple for cell in cells)


def _mean_of(cells: Sequence[Cell], name: str) -> float:
    return float(np.mean([mean(cell.simple[name]) for cell in cells]))
