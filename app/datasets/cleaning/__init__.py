"""Cleaning: a declared list of steps, each of which reports what it found, what it did and why.

Nothing is lost: the uploaded file stays as it is, so that another list of steps makes another dataset of it. The union
below is the registry of steps; adding one takes a file and two lines.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from app.datasets.cleaning.base import CleaningStep
from app.datasets.cleaning.constant_columns import ConstantColumns
from app.datasets.cleaning.corrupt import Corrupt
from app.datasets.cleaning.duplicates import Duplicates
from app.datasets.cleaning.labels import Labels
from app.datasets.cleaning.leaking_columns import LeakingColumns
from app.datasets.cleaning.near_duplicates import NearDuplicates
from app.datasets.cleaning.outliers import Outliers
from app.datasets.cleaning.state import CleaningState
from app.datasets.cleaning.text import Text
from app.datasets.cleaning.unlabelled import treat_unlabelled
from app.datasets.errors import Code, DatasetError, RowError
from app.datasets.frames import Bytes
from app.ml.spec import ModalityKind

Step: TypeAlias = Annotated[
    ConstantColumns | Corrupt | Duplicates | Labels | LeakingColumns | NearDuplicates | Outliers | Text,
    Field(discriminator="kind"),
]
Choice: TypeAlias = Literal["auto", "remove", "keep"]
Steps: TypeAlias = tuple[CleaningStep, ...]
Cleaning: TypeAlias = Literal["auto"] | Annotated[tuple[Step, ...], Field(max_length=50)]


def clean_rows(
    state: CleaningState,
    cleaning: Cleaning,
    *,
    duplicates: Choice,
    unlabelled: Choice,
) -> Steps:
    """Run the steps that clean rows and values, and return all steps of the list."""
    steps = _automatic(state.frame.modality, duplicates) if cleaning == "auto" else _checked(cleaning, state)
    if not any(isinstance(step, Corrupt) for step in steps):
        Corrupt().run(state)
    treat_unlabelled(state, unlabelled)
    for step in steps:
        if not step.after_split:
            step.run(state)
    return steps


def clean_columns(state: CleaningState, steps: Steps, split: Bytes) -> None:
    """Run the steps that judge columns by the train rows; `split` (n,) is that of the kept rows."""
    state.split = split
    for step in steps:
        if step.after_split:
            step.run(state)


def _automatic(modality: ModalityKind, duplicates: Choice) -> Steps:
    """Return the steps that are safe for all data of a modality: most of them only report."""
    action: dict[Choice, Literal["auto", "remove", "report"]] = {"auto": "auto", "remove": "remove", "keep": "report"}
    steps = (
        Corrupt(),
        Text(),
        Labels(),
        Outliers(),
        Duplicates(action=action[duplicates]),
        NearDuplicates(),
        LeakingColumns(),
        ConstantColumns(),
    )
    return tuple(step for step in steps if modality in step.modalities)


def _checked(steps: Steps, state: CleaningState) -> Steps:
    """Refuse a list with a step that is for data of another modality."""
    for position, step in enumerate(steps):
        if state.frame.modality not in step.modalities:
            message = f"cleaning step {position} ({step.kind}) is for {' and '.join(step.modalities)} data"
            raise DatasetError(Code.BAD_OPTION, message, [RowError(("cleaning", str(position)), message)])
    return steps
