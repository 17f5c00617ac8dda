"""Settings and a receiver for tests of webhooks."""

from collections.abc import Iterator

import pytest

from app.settings import Settings
from tests.support.receiver import Receiver, receiving


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Http to this machine is allowed, and nothing waits long."""
    local = {"webhook_http": True, "webhook_networks": ["127.0.0.0/8"], "webhook_seconds": 0.05}
    return Settings(**settings.model_dump() | local | {"webhook_backoff_seconds": [0.05] * 6})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver
