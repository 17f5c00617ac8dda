"""A thin client of the HTTP API; it needs httpx alone (and numpy where arrays are sent).

Answers are the service's JSON, as dictionaries.

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
    JobFailedError,
    UnreachableError,
)
from app.client.jobs import Jobs
from app.client.resources import Datasets, Models
from app.client.transport import Transport

__all__ = [
    "DamagedError",
    "DatasetFailedError",
    "Graftwork",
    "GraftworkApiError",
    "GraftworkError",
    "JobFailedError",
    "UnreachableError",
]


class Graftwork:
    """A service, as the owner of a key sees it. `transport` stands in for the network, in tests."""

    def __init__(self, base_url: str, key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._transport = Transport(base_url, key, transport=transport)
        self.jobs = Jobs(self._transport)
        self.datasets = Datasets(self._transport, self.jobs)
        self.models = Models(self._transport)

    def catalogue(self) -> dict[str, Any]:
        """Return what jobs can be made of."""
        families: dict[str, Any] = self._transport.get("/v1/catalogue")["families"]
        return families

    def close(self) -> None:
        """Give the connections back."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
