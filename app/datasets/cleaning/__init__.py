"""Cleaning: a declared list of steps, each of which tells what it found, what it did and why.

Nothing is lost: the uploaded file stays as it came, so another list makes another dataset of it. The union below is the
registry of steps; adding one takes a file and two lines.
"""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from app.datasets.cleaning.constant_columns import ConstantColumns
from app.datasets.cleaning.corrupt import Corrupt
from app.datasets.cleaning.duplicates import Duplicates
from app.datasets.cleaning.labels import Labels
from app.datasets.cleaning.leaking_columns import LeakingColumns
from app.datasets.cleaning.near_duplicates import NearDuplicates
from app.datasets.cleaning.outliers import Outliers
from app.datasets.cleaning.step import CleaningStep
from app.datasets.cleaning.text import Text
from app.datasets.cleaning.unlabelled import check_labels
from app.datasets.errors import Code, DatasetError, RowError

if TYPE_CHECKING:
    from app.datasets.cleaning.work import Work
    from app.datasets.frame import Bytes
    from app.datasets.options import PrepareOptions

Step: TypeAlias = Annotated[
    ConstantColumns | Corrupt | Duplicates | Labels | LeakingColumns | NearDuplicates | Outliers | Text,
    Field(discriminator="kind"),
]
Steps: TypeAlias = tuple[CleaningStep, ...]
Cleaning: TypeAlias = Literal["auto"] | Annotated[tuple[Step, ...], Field(max_length=50)]


def clean_rows(work: "Work", options: "PrepareOptions") -> Steps:
    """Run the steps that mind rows and values, and return all steps of the list."""
    steps = _planned(work, options)
    if not any(isinstance(step, Corrupt) for step in steps):
        Corrupt().run(work)
    check_labels(work, options.unlabelled)
    for step in steps:
        if not step.after_split:
            step.run(work)
    return steps


def clean_columns(work: "Work", steps: Steps, split: "Bytes") -> None:
    """Run the steps that judge columns by the rows of train; `split` are the kept rows' (n,)."""
    work.split = split
    for step in steps:
        if step.after_split:
            step.run(work)


def _planned(work: "Work", options: "PrepareOptions") -> Steps:
    if options.cleaning == "auto":
        return tuple(step for step in _automatic(options) if work.frame.modality in step.modalities)
    for place, step in enumerate(options.cleaning):
        if work.frame.modality not in step.modalities:
            message = f"cleaning step {place} ({step.kind}) is for {' and '.join(step.modalities)} data"
            raise DatasetError(Code.BAD_OPTION, message, [RowError(("cleaning", str(place)), message)])
    return options.cleaning


def _automatic(options: "PrepareOptions") -> Steps:
    """Return the steps that are safe for anybody: most only report."""
    return (
        Corrupt(),
        Text(),
        Labels(),
        Outliers(),
        Duplicates(action="remove" if options.duplicates == "remove" else "report"),
        NearDuplicates(),
        LeakingColumns(),
        ConstantColumns(),
    )
