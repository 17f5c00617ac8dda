"""Rows without labels that join a fine-tuning by labels of their own: a graph of neighbours hands the known ones on."""

from typing import Annotated, Literal

from pydantic import Field

from app.ml.fields import Integer, Real
from app.ml.spec import Frozen


class LabelPropagationConfig(Frozen):
    """Labels that spread over a graph of nearest neighbours join a linear probe, by how certain they are."""

    __qualname__ = "PseudoLabels"  # its name in the OpenAPI document, which clients know

    dataset: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None,
        description="Id or name of the dataset whose train rows are used, labels or not; null: the rows of this one "
        "that carry no label.",
    )
    use: Literal["auto", "if_better", "always"] = Field(
        "auto",
        description="auto: unless a probe with them answers labels left out worse than one without, by over a standard "
        "error; if_better: where it answers them better by over a standard error.",
    )
    answers: Literal["soft", "hard"] = Field(
        "hard",
        description="What a row is given: its most probable class, or its share of each class; either way it "
        "counts by its certainty.",
    )
    shares: Literal["auto", "near", "labels", "free"] = Field(
        "auto",
        description="How many rows each class gets: labels: the share that it has of the labels; near: that share to "
        "within its standard error; free: as the graph says; auto: near, unless another one answers more labels left "
        "out by over a standard error.",
    )
    neighbours: Integer = Field(10, ge=2, le=100, description="Edges that start at every row.")
    alpha: Real = Field(0.99, gt=0, lt=1, description="How far labels spread: the weight of a row's neighbours.")
    rows: Integer = Field(
        2000, ge=1, le=100_000, description="Rows that the probe learns from at most; the graph takes 100,000."
    )
