"""What a curve is, as JSON."""

from typing import Literal

from pydantic import Field

from app.ml.spec import Frozen

CurveKind = Literal["roc", "precision_recall", "calibration", "confusion_matrix", "predictions", "learning"]


class Line(Frozen):
    """Points in order."""

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    area: float | None = Field(None, description="Under all points, before thinning.")
    thresholds: tuple[float | None, ...] = Field(
        (), description="Of an ROC curve: from which score on a row counts; null: none does."
    )
    rows: tuple[int, ...] = Field((), description="Of a calibration curve: how many rows each point stands for.")
    low: tuple[float, ...] = Field(
        (),
        description="Where the interval of each point begins: of a share at 95 %, of a prediction at the head's level; "
        "empty: none is known, as of jobs of earlier releases.",
    )
    high: tuple[float, ...] = Field((), description="Where it ends.")


class Curve(Frozen):
    """A curve of a head, or a confusion matrix, as JSON."""

    kind: CurveKind
    head: str | None = Field(description="Null for one of the whole job.")
    x_label: str
    y_label: str
    lines: tuple[Line, ...] = ()
    classes: tuple[str, ...] = Field((), description="Of a confusion matrix.")
    counts: tuple[tuple[int, ...], ...] = Field((), description="Of a confusion matrix, truth by row.")
