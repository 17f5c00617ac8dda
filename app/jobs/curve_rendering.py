"""Curves as pictures. matplotlib is imported when first asked: it takes a second, and most processes never draw.

Names are users': no formula is read out of them, and what cannot be printed becomes a blank.
"""

import io
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from app.ml.evaluation.curve import Curve, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import ColorType

Format = Literal["png", "svg"]
Place = Literal["lower right", "lower left", "upper left", "best"]
MEDIA: dict[Format, str] = {"png": "image/png", "svg": "image/svg+xml"}
_INCHES, _DOTS = (6.4, 4.8), 100
_MAX_NAMED, _MAX_WRITTEN = 10, 12  # lines in a legend; classes whose counts are written into their cells
_MAX_BANDS = 3
_MAX_CHARACTERS = 30
_drawing = threading.Lock()  # matplotlib is made for one thread at a time


def render_curve(curve: Curve, form: Format) -> bytes:
    """Return a picture of 640 x 480 pixels; the same curve gives the same bytes."""
    with _drawing, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks
        from matplotlib import rc_context  # noqa: PLC0415 - see above
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

        with rc_context({"svg.hashsalt": "graftwork", "font.size": 9}):
            figure = Figure(_INCHES, _DOTS, layout="constrained")
            FigureCanvasAgg(figure)
            _DRAWERS[curve.kind](curve, figure)
            target = io.BytesIO()
            metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
            figure.savefig(target, format=form, metadata=metadata)
    return target.getvalue()


def _axes(figure: "Figure", curve: Curve) -> "Axes":
    axes = figure.add_subplot()
    axes.set_xlabel(curve.x_label)
    axes.set_ylabel(curve.y_label)
    if curve.head is not None:
        axes.set_title(f"{_printable(curve.head)}: {curve.kind.replace('_', ' ')}")
    return axes


def _draw_roc(curve: Curve, figure: "Figure") -> None:
    axes = _axes(figure, curve)
    _unit(axes)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    for line in curve.lines:
        (drawn,) = axes.plot(line.x, _heights(line), label=_with_area(line, "AUC"))
        _band(axes, curve, line, drawn.get_color())
    _legend(axes, curve.lines, "lower right")


def _draw_precision(curve: Curve, figure: "Figure") -> None:
    axes = _axes(figure, curve)
    _unit(axes)
    for line in curve.lines:
        heights = _heights(line)
        (drawn,) = axes.step([0, *line.x], [*heights[:1], *heights], where="pre", label=_with_area(line, "AP"))
        _band(axes, curve, line, drawn.get_color(), step="pre")
    _legend(axes, curve.lines, "lower left")


def _draw_calibration(curve: Curve, figure: "Figure") -> None:
    axes = _axes(figure, curve)
    _unit(axes)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    for line in curve.lines:
        max_rows = max(line.rows, default=1)
        (drawn,) = axes.plot(line.x, _heights(line), label=_printable(line.name))
        axes.scatter(line.x, _heights(line), [8 + 60 * rows / max_rows for rows in line.rows], drawn.get_color())
        axes.vlines(line.x[: len(line.low)], line.low, line.high, drawn.get_color(), alpha=0.4)
    _legend(axes, curve.lines, "upper left")


def _draw_confusion(curve: Curve, figure: "Figure") -> None:
    axes, counts = _axes(figure, curve), curve.counts
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the truth")
    if len(counts) > 2 * _MAX_WRITTEN:
        return
    names = [_printable(name) for name in curve.classes]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    if len(counts) <= _MAX_WRITTEN:
        for row, of_row in enumerate(counts):
            for column, count in enumerate(of_row):
                dark = shares[row][column] > 0.5  # noqa: PLR2004 - half of the scale
                axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")


def _draw_predictions(curve: Curve, figure: "Figure") -> None:
    axes = _axes(figure, curve)
    for line in curve.lines:
        drawn = axes.scatter(line.x, _heights(line), 10, alpha=0.6, label=_printable(line.name))
        axes.vlines(line.x[: len(line.low)], line.low, line.high, drawn.get_facecolor(), linewidth=0.6, alpha=0.3)
    ends = [value for line in curve.lines for value in (*line.x, *line.y) if value is not None]
    if ends:
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color="0.7", linestyle=":")
    _legend(axes, curve.lines, "upper left")


def _draw_learning(curve: Curve, figure: "Figure") -> None:
    """Losses above, the rest below, without the learning rate."""
    lines = [line for line in curve.lines if line.name != "train/lr"]
    losses = [line for line in lines if line.name.endswith("loss")]
    parts = [part for part in (losses, [line for line in lines if line not in losses]) if part]
    for index, part in enumerate(parts):
        axes = figure.add_subplot(len(parts), 1, index + 1)
        axes.set_xlabel(curve.x_label)
        for line in part:
            marker = "." if len(line.x) < _MAX_WRITTEN else ""
            axes.plot(line.x, _heights(line), marker=marker, label=_printable(line.name))
        _legend(axes, part, "best")


def _band(axes: "Axes", curve: Curve, line: Line, color: "ColorType", step: Literal["pre"] | None = None) -> None:
    """The intervals of a line's points; of many lines nobody could tell the bands apart."""
    if line.low and len(curve.lines) <= _MAX_BANDS:
        axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.15, linewidth=0, step=step)


def _unit(axes: "Axes") -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _legend(axes: "Axes", lines: Sequence[Line], place: Place) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if lines:
        axes.legend(handles[:_MAX_NAMED], labels[:_MAX_NAMED], loc=place, fontsize="small")


def _heights(line: Line) -> list[float]:
    """With a gap where nothing was measured."""
    return [float("nan") if value is None else value for value in line.y]


def _with_area(line: Line, name: str) -> str:
    return _printable(line.name) if line.area is None else f"{_printable(line.name)}, {name} {line.area:.3f}"


def _printable(name: str) -> str:
    """A name without formulas and control characters, and never one that matplotlib would hide."""
    cut = name if len(name) <= _MAX_CHARACTERS else f"{name[:_MAX_CHARACTERS]}…"
    plain = "".join(letter if letter.isprintable() else " " for letter in cut).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


_DRAWERS: dict[str, Callable[[Curve, "Figure"], None]] = {
    "roc": _draw_roc,
    "precision_recall": _draw_precision,
    "calibration": _draw_calibration,
    "confusion_matrix": _draw_confusion,
    "predictions": _draw_predictions,
    "learning": _draw_learning,
}
