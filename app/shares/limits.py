"""The limits of shares, from the settings."""

from dataclasses import dataclass
from typing import Self

from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Pool:
    """Slots of one sort: how many there are, at most how many a project and a key may hold, how many are reserved.

    A project that holds fewer than `reserved` gets another one even where none of `total` is left.
    """

    total: int
    project: int
    key: int
    reserved: int

    def key_reserved(self) -> int:
        """Return how many slots each key of a project gets in the same way."""
        return max(1, self.reserved // 4)


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of shares; a rate is in requests per second, 0: none; the bytes are those of the largest body."""

    requests: Pool
    streams: Pool
    project_rate: float
    key_rate: float
    max_body_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the limits that the settings say."""
        requests, streams = settings.max_requests, settings.max_streams
        return cls(
            Pool(
                requests,
                settings.project_requests or requests,
                settings.key_requests or requests,
                min(settings.reserved_requests, requests),
            ),
            Pool(
                streams,
                settings.project_streams or streams,
                settings.key_streams or streams,
                min(settings.reserved_streams, streams),
            ),
            settings.project_rate,
            settings.key_rate,
            settings.max_json_bytes,
        )
