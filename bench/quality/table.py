"""Writes docs/quality.md: the latest figures, merged from runs of single rows."""

import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from protocol import Figure

PAGE = Path(__file__).parents[2] / "docs" / "quality.md"
NOTES = "<!-- notes -->\n"
HEAD = """# Learning quality

Unless a row says otherwise it was measured over HTTP: upload, pretrain, fine-tune, predict the test inputs. Test labels
stay with the scorer. Accuracies are percent, mean and deviation over three draws of the labels; the controls learned
from the same draws. CPU seconds are those of the jobs that made the figure, pretraining included. "Defaults alone" are
requests that choose nothing but the kind of autoencoder in P3; half of the way from the best control to the target is
asked of them. Written by `python bench/quality --data DIR` ({machine}).

| row | what | reached | asked | met | controls | reference | CPU s |
|---|---|---|---|---|---|---|---|
"""


def save(figures: Iterable[Figure], path: Path) -> None:
    """Write figures to a JSON file."""
    path.write_text(json.dumps([vars(figure) for figure in figures], default=list), encoding="utf-8")


def load(paths: Iterable[Path]) -> list[Figure]:
    """Read the figures of several JSON files."""
    return [Figure(**fields) for path in paths for fields in json.loads(path.read_text(encoding="utf-8"))]


def merged(figures: Iterable[Figure]) -> list[Figure]:
    """Return the last figure of each row and measure, sorted by row, else in their order."""
    latest = {(figure.row, figure.what): figure for figure in figures}
    return sorted(latest.values(), key=lambda figure: figure.row)


def write(figures: Sequence[Figure]) -> None:
    """Write the page; the notes under its table are kept."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    machine = f"{platform.machine()}, torch {torch.__version__}, one thread"
    lines = "".join(map(line, merged(figures)))
    PAGE.write_text(HEAD.format(machine=machine) + lines + "\n" + NOTES + text.partition(NOTES)[2], encoding="utf-8")


def line(figure: Figure) -> str:
    """Return a figure as a row of the table."""
    digits = 2 if figure.lower_is_better else 1
    value = f"{figure.mean:.{digits}f}" + (f" ± {figure.std:.1f}" if len(figure.values) > 1 else "")
    controls = ", ".join(f"{name} {value:.{digits}f}" for name, value in figure.controls.items())
    cells = (
        figure.row,
        f"{figure.what}; {figure.note}" if figure.note else figure.what,
        value,
        f"{figure.target:g}",
        "yes" if figure.met else "no",
        controls,
        figure.reference,
        f"{figure.cpu_seconds:.0f}",
    )
    return "| " + " | ".join(cells) + " |\n"
