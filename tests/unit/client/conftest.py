from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from graftwork import Graftwork
from tests.support.blocking import BlockingGraftwork
from tests.support.handlers import Connect, Handler


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Make a client whose service is a handler, and the list of the pauses that it makes instead of sleeping."""
    kind, clients = Graftwork if request.param == "sync" else BlockingGraftwork, []

    def make(handler: Handler) -> tuple[Any, list[float]]:
        graftwork, pauses = kind("http://service", "a-key", transport=httpx.MockTransport(handler)), []
        clients.append(graftwork)

        async def pause(seconds: float) -> None:
            pauses.append(seconds)

        if request.param == "sync":
            graftwork._transport.sleep = pauses.append
        else:
            graftwork._inner._transport.sleep = pause
        return graftwork, pauses

    yield make
    for graftwork in clients:
        graftwork.close()
