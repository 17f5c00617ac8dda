"""docs/quality.md: the figures that were measured last."""

import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from protocol import Figure

PAGE = Path(__file__).parents[2] / "docs" / "quality.md"
HEAD = """# Learning quality

Every figure was reached over HTTP: upload, pretrain, fine-tune, predict the test inputs. Test labels stay with the
scorer. Accuracies are percent, mean and deviation over three draws of the labels; the controls learned from the same
draws. CPU seconds are those of the jobs that made the figure, pretraining included. Written by
`python bench/quality --data DIR` ({machine}).

| row | what | reached | target | met | controls | reference | CPU s |
|---|---|---|---|---|---|---|---|
"""


def write(figures: Sequence[Figure], notes: str) -> None:
    """Write the page anew."""
    machine = f"{platform.machine()}, torch {torch.__version__}, two cores"
    PAGE.write_text(HEAD.format(machine=machine) + "".join(map(line, figures)) + notes, encoding="utf-8")


def line(figure: Figure) -> str:
    """One row of the table."""
    digits = 2 if figure.lower_is_better else 1
    value = f"{figure.mean:.{digits}f}" + (f" ± {figure.std:.1f}" if len(figure.values) > 1 else "")
    controls = ", ".join(f"{name} {value:.1f}" for name, value in figure.controls.items())
    what = f"{figure.what}; {figure.note}" if figure.note else figure.what
    met = "yes" if figure.met else "no"
    cells = (
        figure.row,
        what,
        value,
        f"{figure.target:g}",
        met,
        controls,
        figure.reference,
        f"{figure.cpu_seconds:.0f}",
    )
    return "| " + " | ".join(cells) + " |\n"
