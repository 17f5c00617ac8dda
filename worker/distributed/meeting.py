"""Where the ranks of a training meet: a key-value store (torch's TCPStore) that the leader keeps in its memory.

It listens on one address of the leader's machine: the loopback where all ranks are on it, else the one by which workers
reach each other. It has no password: that network must be private, as for every job of torch.distributed.
"""

import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta

import psutil
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

LOOPBACK = "127.0.0.1"
_FOREVER = timedelta(days=30)  # whoever waits for a dead process is killed by its supervisor
_LOOK_SECONDS = 0.1


def open_store(host: str, world_size: int) -> tuple[TCPStore, str]:
    """Open the leader's store on a free port of `host`; return it, and the address (host:port) to reach it by."""
    listener = socket.create_server((host, 0), family=_family(host))
    port: int = listener.getsockname()[1]
    # The store owns the socket from here on, and closes it.
    store = TCPStore(host, port, world_size, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    return store, f"{host}:{port}"


def connect(address: str, world_size: int) -> TCPStore:
    """Connect to the leader's store. Raises `torch.distributed.DistNetworkError`: it is gone."""
    host, _, port = address.rpartition(":")
    return TCPStore(host, int(port), world_size, is_master=False, wait_for_workers=False)


def use_interface_of(host: str) -> None:
    """Let this process's gloo and NCCL send over the network interface that has the address `host`."""
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(variable, interface_of(host))


def interface_of(host: str) -> str:
    """Return the name of the network interface that has an address. Raises ValueError where none has."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == host for address in addresses):
            return name
    msg = f"no network interface of this machine has the address {host}"
    raise ValueError(msg)


def arrive(store: Store, place: str, rank: int) -> None:
    """Tell the leader that a rank has come to a place of the program."""
    store.set(f"{place}/{rank}", "")


def wait_for_all(store: Store, place: str, world_size: int, look: Callable[[], None] = lambda: None) -> None:
    """Wait, however long, until all ranks have come to a place; `look` is called now and then, and may raise."""
    keys = [f"{place}/{rank}" for rank in range(world_size)]
    while not store.check(keys):
        look()
        time.sleep(_LOOK_SECONDS)


def wait(store: Store, place: str, world_size: int) -> None:
    """Wait for all ranks as a rank that has nothing else to look after."""
    store.wait([f"{place}/{rank}" for rank in range(world_size)], _FOREVER)


def _family(host: str) -> socket.AddressFamily:
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
