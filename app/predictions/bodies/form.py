"""What a form of a body is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from app.errors import ErrorItem, UnprocessableError
from app.predictions.schemas import MAX_INPUTS


@dataclass(frozen=True, slots=True)
class BodyForm:
    """A form of rows: its content types, and how its bytes become inputs.

    `read` raises UnprocessableError for bytes that are none of its form.
    """

    content_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    read: Callable[[bytes], Sequence[Any] | NDArray[Any]]
    magic: tuple[bytes, ...] = ()
    parsed_bytes: Callable[[bytes], int] = len  # of memory that the inputs take at most
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string", "format": "binary"})

    def fits(self, filename: str, content: bytes) -> bool:
        """Whether a file without a content type is of this form."""
        return content.startswith(self.magic) or filename.lower().endswith(self.suffixes)


def unreadable(msg: str, row: int | None = None) -> UnprocessableError:
    """Return the error for a body that is not what it says to be; `row` is the index of the row at fault."""
    return UnprocessableError(f"body: {msg}", code="invalid_body", errors=[ErrorItem(loc=["body"], msg=msg, row=row)])


def check_count(count: int) -> None:
    """Raise UnprocessableError for no rows, or for more than one request takes."""
    if not count:
        msg = "it holds no rows"
        raise unreadable(msg)
    if count > MAX_INPUTS:
        msg = f"it holds more than {MAX_INPUTS} rows: send them in several requests"
        raise unreadable(msg)
