"""What the client makes of a service that is killed, and of one that is not there."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app.kit.process import free_port
from app.settings import Settings
from graftwork import Graftwork, UnreachableError
from tests.support.blocking import BlockingGraftwork
from tests.support.servers import HANGS, KEY, Service, service, wait_until
from tests.support.work import run_jobs

KINDS: dict[str, Any] = {"sync": Graftwork, "async": BlockingGraftwork}


def start_api(running: Service) -> None:
    running.run("api", "--port", str(running.port))
    running.wait_ready()


def test_streams_go_on_over_a_kill_of_the_service(tmp_path: Path) -> None:
    """The API is killed while a story is followed; another one answers at its address: no event is missing or twice."""
    seen: dict[str, list[int]] = {kind: [] for kind in KINDS}
    rows = b"a,b\n1,2\n3,4\n5,6\n" * 5

    def follow(kind: str, job: str) -> None:
        with KINDS[kind](running.url, KEY) as graftwork:
            for event in graftwork.jobs.follow(job):
                seen[kind].append(event.seq)

    with service(tmp_path) as running:
        assert running.run("migrate").wait(HANGS) == 0
        start_api(running)
        with running.client() as graftwork:
            job = graftwork.datasets.create(rows, name="rows", wait=False)["job"]
            threads = [threading.Thread(target=follow, args=(kind, job)) for kind in KINDS]
            for thread in threads:
                thread.start()
            wait_until(lambda: all(seen.values()), "both follow the story")
            running.processes[-1].kill()
            running.processes[-1].wait(HANGS)
            start_api(running)
            run_jobs(Settings(data=tmp_path / "data"))
            for thread in threads:
                thread.join(HANGS)
            story = [event.seq for event in graftwork.jobs.events(job)]
    assert len(story) > 2
    assert seen == dict.fromkeys(KINDS, story)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_listens_that_is_told_within_three_seconds(kind: str) -> None:
    url, begun = f"http://127.0.0.1:{free_port()}", time.monotonic()
    with KINDS[kind](url, KEY) as graftwork, pytest.raises(UnreachableError, match="graftwork up") as caught:
        graftwork.models.get("reader")
    assert time.monotonic() - begun < 3
    assert url in str(caught.value)
