"""The client: all resources of one service."""

from typing import Self

import httpx

from graftwork import answers
from graftwork._async.admin import AsyncAdmin
from graftwork._async.datasets import AsyncDatasets
from graftwork._async.heads import AsyncHeads
from graftwork._async.jobs import AsyncJobs
from graftwork._async.keys import AsyncKeys
from graftwork._async.models import AsyncModels
from graftwork._async.transport import AsyncTransport
from graftwork._async.uploads import AsyncUploads
from graftwork._async.webhooks import AsyncWebhooks


class AsyncGraftwork:
    """A client of one service, authenticated by one API key.

    Without arguments, the environment says both: GRAFTWORK_URL and GRAFTWORK_KEY. `transport` replaces the network.

    Raises:
        ConnectionSettingsError: the URL or the key cannot be one.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._transport = AsyncTransport(url, key, transport=transport)
        self.jobs = AsyncJobs(self._transport)
        self.uploads = AsyncUploads(self._transport)
        self.datasets = AsyncDatasets(self._transport, self.jobs, self.uploads)
        self.models = AsyncModels(self._transport)
        self.heads = AsyncHeads(self._transport)
        self.keys = AsyncKeys(self._transport)
        self.admin = AsyncAdmin(self._transport)
        self.webhooks = AsyncWebhooks(self._transport)

    async def catalogue(self) -> answers.Catalogue:
        """Return every kind that a job's config can name, by family, and the published weights."""
        return await self._transport.ask(answers.Catalogue, "GET /v1/catalogue")

    async def job_kind(self, kind: str) -> answers.CatalogueEntry:
        """Return a kind of job with the JSON Schema of its request, of a preparation of its options."""
        return await self._transport.ask(answers.CatalogueEntry, "GET /v1/catalogue/jobs/{job_kind}", kind)

    async def storage(self, *, service: bool = True) -> answers.Storage:
        """Return what the files of the project take, and its quota; to administrators what all take, where `service`.

        For that every file of the store is listed, which takes minutes where there are millions.
        """
        return await self._transport.ask(answers.Storage, "GET /v1/storage", query={"service": service})

    async def live(self) -> answers.Health:
        """Return that the service answers."""
        return await self._transport.ask(answers.Health, "GET /health/live")

    async def ready(self) -> answers.Readiness:
        """Return whether the service can do its work, and which part it lacks.

        Raises:
            UnavailableError: it cannot serve.
        """
        return await self._transport.ask(answers.Readiness, "GET /health/ready")

    async def metrics(self) -> str:
        """Return the service's metrics as Prometheus reads them."""
        return (await self._transport.read("GET /metrics")).decode()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
