"""The client: all resources of one service."""

from typing import Self

import httpx

from graftwork import answers
from graftwork._sync.admin import Admin
from graftwork._sync.datasets import Datasets
from graftwork._sync.heads import Heads
from graftwork._sync.jobs import Jobs
from graftwork._sync.keys import Keys
from graftwork._sync.models import Models
from graftwork._sync.transport import Transport
from graftwork._sync.uploads import Uploads
from graftwork._sync.webhooks import Webhooks


class Graftwork:
    """A client of one service, authenticated by one API key.

    Without arguments, the environment says both: GRAFTWORK_URL and GRAFTWORK_KEY. `transport` replaces the network.

    Raises:
        ConnectionSettingsError: the URL or the key cannot be one.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._transport = Transport(url, key, transport=transport)
        self.jobs = Jobs(self._transport)
        self.uploads = Uploads(self._transport)
        self.datasets = Datasets(self._transport, self.jobs, self.uploads)
        self.models = Models(self._transport)
        self.heads = Heads(self._transport)
        self.keys = Keys(self._transport)
        self.admin = Admin(self._transport)
        self.webhooks = Webhooks(self._transport)

    def catalogue(self) -> answers.Catalogue:
        """Return every kind that a job's config can name, by family, and the published weights."""
        return self._transport.ask(answers.Catalogue, "GET /v1/catalogue")

    def job_kind(self, kind: str) -> answers.CatalogueEntry:
        """Return a kind of job with the JSON Schema of its request, of a preparation of its options."""
        return self._transport.ask(answers.CatalogueEntry, "GET /v1/catalogue/jobs/{job_kind}", kind)

    def storage(self, *, service: bool = True) -> answers.Storage:
        """Return what the files of the project take, and its quota; to administrators what all take, where `service`.

        For that every file of the store is listed, which takes minutes where there are millions.
        """
        return self._transport.ask(answers.Storage, "GET /v1/storage", query={"service": service})

    def live(self) -> answers.Health:
        """Return that the service answers."""
        return self._transport.ask(answers.Health, "GET /health/live")

    def ready(self) -> answers.Readiness:
        """Return whether the service can do its work, and which part it lacks.

        Raises:
            UnavailableError: it cannot serve.
        """
        return self._transport.ask(answers.Readiness, "GET /health/ready")

    def metrics(self) -> str:
        """Return the service's metrics as Prometheus reads them."""
        return (self._transport.read("GET /metrics")).decode()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
