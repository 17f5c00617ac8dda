"""A picture is one input; it is decoded as a picture in base64 is."""

from typing import Any

from app.predictions.bodies.form import BodyForm


def read(content: bytes) -> list[Any]:
    """Return the picture's bytes as the only input."""
    return [content]


FORM = BodyForm(
    ("image/png", "image/jpeg", "image/jpg", "image/webp"),
    (".png", ".jpg", ".jpeg", ".webp"),
    read,
    magic=(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"),
)
