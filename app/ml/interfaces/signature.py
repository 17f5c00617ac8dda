"""What a model takes, in words and numbers that a client can act on."""

from typing import Any

from pydantic import Field

from app.ml.spec import Frozen, ModalityKind


class SignatureColumn(Frozen):
    """A column of a table, or a channel of series."""

    name: str
    type: str = Field(description="number, category, date or text.")
    categories: tuple[str, ...] | None = Field(description="Of a category; null for other types.")
    range: tuple[float | str, float | str] | None = Field(
        description="Least and greatest value that training saw, dates in ISO 8601; null: not known."
    )
    may_be_missing: bool = Field(
        description="Whether null, or no key at all, is understood; else the answer warns (`missing_value`)."
    )


class ImageSignature(Frozen):
    """The size that pictures are brought to, and that arrays have."""

    height: int
    width: int
    channels: int
    highest: float = Field(description="White in arrays: 255 of whole numbers, 1, or as the training file had it.")
    resize: str = Field(description="How pictures of other sizes are brought to this one.")


class Signature(Frozen):
    """The inputs that a model takes."""

    modality: ModalityKind
    columns: tuple[SignatureColumn, ...] = Field((), description="Of a table, in order; or the channels of series.")
    image: ImageSignature | None = Field(None, description="Of images; else null.")
    context: int | None = Field(None, description="Of texts: how many tokens are read of each; else null.")
    steps: int | None = Field(None, description="Of series: how many steps one may have; else null.")
    text_column: str | None = Field(None, description="The training file's column of texts, under which rows hold one.")
    ignored: tuple[str, ...] = Field((), description="Columns of the training file that rows may hold, unused.")
    example: dict[str, Any] = Field(description="The body of a request for predictions or embeddings that works.")

    def changes_from(self, older: "Signature") -> list[str]:
        """Return in words what was fine for an older version and is not any more, or means something else."""
        if self.modality != older.modality:
            return [f"it takes {self.modality} rows, and took {older.modality} rows"]
        before = {column.name: column for column in older.columns}
        now = {column.name: column for column in self.columns}
        changes = [f"{name!r} is no input any more" for name in before if name not in now]
        changes += [f"{name!r} is a new input" for name in now if name not in before]
        changes += [word for name in now if name in before for word in _column_changes(now[name], before[name])]
        if not changes and [*now] != [*before]:
            changes.append("its columns have another order")
        if self.image != older.image:
            changes.append("its images have another size or range of values")
        if self.steps is not None and older.steps is not None and self.steps < older.steps:
            changes.append(f"its series have at most {self.steps} steps, and had {older.steps}")
        return changes


def _column_changes(now: SignatureColumn, before: SignatureColumn) -> list[str]:
    if now.type != before.type:
        return [f"{now.name!r} is a {now.type} and was a {before.type}"]
    lost = [name for name in before.categories or () if name not in (now.categories or ())]
    changes = [f"{now.name!r} lost {len(lost)} categories, such as {lost[0]!r}"] if lost else []
    if before.may_be_missing and not now.may_be_missing:
        changes.append(f"{now.name!r} may not be missing any more without a warning")
    return changes
