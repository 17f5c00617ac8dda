"""What tests of the API with a worker share."""

import threading
from collections.abc import Iterator

import pytest

from app.settings import Settings
from tests.support.servers import HANGS
from tests.support.work import run_jobs


@pytest.fixture
def worker(settings: Settings) -> Iterator[None]:
    """A worker that looks for jobs all the time."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.05):
            run_jobs(settings)

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    stop.set()
    thread.join(HANGS)
