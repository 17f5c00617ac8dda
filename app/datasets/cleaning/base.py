"""The base class of cleaning steps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from app.datasets.cleaning.state import CleaningState
from app.datasets.report import Unit
from app.ml.spec import Frozen, ModalityKind

ALL_MODALITIES: tuple[ModalityKind, ...] = ("image", "table", "text", "series")


class CleaningStep(Frozen, ABC):
    """A cleaning step: a config with a `kind`, and what it does."""

    modalities: ClassVar[tuple[ModalityKind, ...]] = ALL_MODALITIES
    after_split: ClassVar[bool] = False
    """True for a step that needs the splits: it runs once they are known, wherever it is in the list."""

    kind: str

    @abstractmethod
    def run(self, state: CleaningState) -> None:
        """Do the step, and `record` each of its decisions."""

    def record(
        self, state: CleaningState, affected: int, unit: Unit, decision: str, examples: Sequence[str], action: str = ""
    ) -> None:
        """Put into the report what the step found and did; without `action`, as its own field `action` says."""
        state.record(self.kind, action or getattr(self, "action", "remove"), affected, unit, decision, examples)
