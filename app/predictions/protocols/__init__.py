"""Other protocols than our own, by which existing clients ask our models. A new one is a folder here and two lines."""

from app.predictions.protocols import label_studio, open_inference, openai_shaped
from app.predictions.protocols.protocol import Protocol

PROTOCOLS: tuple[Protocol, ...] = (
    open_inference.PROTOCOL,
    openai_shaped.PROTOCOL,
    label_studio.PROTOCOL,
)  # fmt: skip
