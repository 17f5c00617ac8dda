"""A load balancer over TCP: each connection goes to the next server in turn, and past one that refuses it."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

_BLOCK = 65_536


class Balancer:
    """Listens on `port` of the loopback; `counts` are the connections that each port of a server got."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._turn = count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.counts: Counter[int] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            for _ in self._ports:
                port = self._ports[next(self._turn) % len(self._ports)]
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as server:
                    self.counts[port] += 1
                    back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                    back.start()
                    _copy(client, server)
                    back.join()
                    return


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # cut
        while block := source.recv(_BLOCK):
            sink.sendall(block)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def balancer(*ports: int) -> Iterator[Balancer]:
    """A balancer of these servers."""
    running = Balancer(list(ports))
    try:
        yield running
    finally:
        running.close()
