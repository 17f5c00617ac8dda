"""Machines with addresses of their own: network namespaces on one bridge, as far as this machine allows them.

What listens on this machine's loopback is reached from them through a relay at the bridge's address. A cable may be
pulled: then nothing comes through in either direction, and no connection is closed.
"""

import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Host:
    """A namespace, the address that it has on the bridge, and its cable's end there."""

    name: str
    address: str
    cable: str

    @property
    def command(self) -> list[str]:
        """What a program's command line begins with, to run there."""
        return ["ip", "netns", "exec", self.name]

    def pull_cable(self) -> None:
        _ip("link", "set", self.cable, "down")

    def plug_cable(self) -> None:
        _ip("link", "set", self.cable, "up")


@dataclass(frozen=True)
class Network:
    """Hosts, and the address at which they reach this machine."""

    hosts: list[Host]
    address: str

    @contextmanager
    def relayed(self, url: str) -> Iterator[str]:
        """Let the hosts reach a service on this machine's loopback; give its URL for them."""
        head, _, rest = url.partition("127.0.0.1:")
        port = int("".join(character for character in rest.partition("/")[0] if character.isdigit()))
        with _relay(self.address, port) as outer:
            yield f"{head}{self.address}:{outer}{rest.removeprefix(str(port))}"


@contextmanager
def network(count: int) -> Iterator[Network | None]:
    """So many hosts on a bridge; None where this machine allows none."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        yield None
        return
    name = secrets.token_hex(3)
    subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
    bridge = f"gb{name}"
    with ExitStack() as stack:
        try:
            _ip("link", "add", bridge, "type", "bridge")
            stack.callback(_ip, "link", "del", bridge)
            _ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            hosts = [_host(stack, bridge, f"{name}{number}", f"{subnet}.{number + 2}") for number in range(count)]
        except subprocess.CalledProcessError:
            stack.close()
            yield None
            return
        yield Network(hosts, f"{subnet}.1")


def _host(stack: ExitStack, bridge: str, name: str, address: str) -> Host:
    outer, inner = f"go{name}", f"gi{name}"
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "del", name)
    _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
    _ip("link", "set", outer, "master", bridge, "up")
    for words in (["addr", "add", f"{address}/24", "dev", inner], ["link", "set", inner, "up"]):
        _ip("-n", name, *words)
    _ip("-n", name, "link", "set", "lo", "up")
    return Host(name, address, outer)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def _relay(address: str, port: int) -> Iterator[int]:
    """Pass bytes between a port of `address`, which is given, and a port of the loopback."""
    with socket.create_server((address, 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        try:
            outer, _ = listener.accept()
            inner = socket.create_connection(("127.0.0.1", port))
        except OSError:
            if listener.fileno() < 0:
                return
            outer.close()
            continue
        for ends in ((outer, inner), (inner, outer)):
            threading.Thread(target=_pass, args=ends, daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(_BLOCK):
            sink.sendall(block)
    for end in (source, sink):
        with suppress(OSError):  # the other direction has ended it
            end.shutdown(socket.SHUT_RDWR)
        end.close()
