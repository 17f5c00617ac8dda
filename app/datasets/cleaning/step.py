"""What all steps of cleaning have in common."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from app.ml.data.spec import Frozen, ModalityKind

if TYPE_CHECKING:
    from app.datasets.cleaning.work import Work

ALL: tuple[ModalityKind, ...] = ("image", "table", "text", "series")


class CleaningStep(Frozen, ABC):
    """One step: a choice with a `kind`, and the work it does."""

    modalities: ClassVar[tuple[ModalityKind, ...]] = ALL
    after_split: ClassVar[bool] = False
    """True for a step that looks at rows of train alone: it runs once the splits are known, wherever it is listed."""

    kind: str

    @abstractmethod
    def run(self, work: "Work") -> None:
        """Do the step and tell of it by `work.tell`, once for each thing that was decided."""
