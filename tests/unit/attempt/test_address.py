"""By which address a worker is reached, and over which interface it sends."""

import psutil
import pytest

from app.settings import Settings
from worker.attempt.address import own_address
from worker.distributed.meeting import interface_of


def test_the_address_that_is_set_is_taken() -> None:
    assert own_address(Settings(worker_address="10.0.0.7")) == "10.0.0.7"


def test_else_it_is_the_one_from_which_the_database_is_reached() -> None:
    assert own_address(Settings(database_url="")) == "127.0.0.1", "a file"
    assert own_address(Settings(database_url="postgresql://graftwork@127.0.0.1/graftwork")) == "127.0.0.1"
    others = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family.name == "AF_INET" and not address.address.startswith("127.")
    ]
    for address in others:  # a database on this machine is reached from its own address
        assert own_address(Settings(database_url=f"postgresql://graftwork@{address}/graftwork")) == address


def test_an_address_leads_to_its_interface() -> None:
    assert interface_of("127.0.0.1") == "lo"
    with pytest.raises(ValueError, match="no network interface"):
        interface_of("192.0.2.1")  # kept for documentation (RFC 5737)
