"""What a protocol is."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter

from app.errors import ErrorShape


@dataclass(frozen=True)
class Protocol:
    """A way of asking models that other services have, too: where its paths begin, its routes, how it writes errors."""

    prefix: str
    routers: Sequence[APIRouter]
    error: ErrorShape
    takes_basic: bool = False  # whether keys may come as the password of HTTP Basic: its clients send nothing else
