"""A thin client of the HTTP API. It needs httpx and httpx-sse, and numpy for uploading arrays.

Methods return the service's JSON as dictionaries.

    with Graftwork("http://127.0.0.1:8000", key) as graftwork:
        dataset = graftwork.datasets.create("images.zip", name="images")
        job = graftwork.jobs.create(kind="pretraining", dataset=dataset["id"], name="images", wait=True)
        features = graftwork.models.embed("images", images)
"""

from typing import Any, Self

import httpx

from app.client.errors import (
    DamagedError,
    DatasetFailedError,
    GraftworkApiError,
    GraftworkError,
    GraftworkWarning,
    JobFailedError,
    UnreachableError,
)
from app.client.jobs import Jobs
from app.client.resources import Datasets, Heads, Models
from app.client.transport import Transport

__all__ = [
    "DamagedError",
    "DatasetFailedError",
    "Graftwork",
    "GraftworkApiError",
    "GraftworkError",
    "GraftworkWarning",
    "JobFailedError",
    "UnreachableError",
]


class Graftwork:
    """A client of one service, authenticated by one API key. Tests replace the network by `transport`."""

    def __init__(self, base_url: str, key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._transport = Transport(base_url, key, transport=transport)
        self.jobs = Jobs(self._transport)
        self.datasets = Datasets(self._transport, self.jobs)
        self.models = Models(self._transport)
        self.heads = Heads(self._transport)

    def catalogue(self) -> dict[str, Any]:
        """Return every kind that a job's config can name, by family."""
        families: dict[str, Any] = self._transport.get("/v1/catalogue")["families"]
        return families

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
