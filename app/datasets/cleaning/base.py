"""What all steps of cleaning have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from app.datasets.cleaning.state import Work
from app.datasets.report import Unit
from app.ml.data.spec import Frozen, ModalityKind

ALL: tuple[ModalityKind, ...] = ("image", "table", "text", "series")


class CleaningStep(Frozen, ABC):
    """One step: a choice with a `kind`, and the work it does."""

    modalities: ClassVar[tuple[ModalityKind, ...]] = ALL
    after_split: ClassVar[bool] = False
    """True for a step that looks at rows of train alone: it runs once the splits are known, wherever it is listed."""

    kind: str

    @abstractmethod
    def run(self, work: Work) -> None:
        """Do the step, and `record` each thing that it decided."""

    def record(
        self, work: Work, affected: int, unit: Unit, decision: str, examples: Sequence[str], action: str = ""
    ) -> None:
        """Put into the report what the step found and did; without `action`, as its own field `action` says."""
        work.record(self.kind, action or getattr(self, "action", "remove"), affected, unit, decision, examples)
