"""Loads a server over keep-alive connections: a process of its own, so that its time is not the server's.

    python -m bench.serving.load PORT PATH BODY CLIENTS SECONDS [KEY [COUNT]]

A * in PATH stands for the numbers 0 to COUNT - 1, which requests go through in turn. Prints one JSON line: requests,
seconds, latencies in milliseconds (p50, p99), and how many answers were not 200.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import uvloop

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Client(asyncio.Protocol):
    """Sends one request after the other on its connection."""

    def __init__(self, requests: Iterator[bytes], deadline: float, latencies: list[float]) -> None:
        self._requests = requests
        self._deadline = deadline
        self._latencies = latencies
        self._received = b""
        self._sent_at = 0.0
        self.failed = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send the first request."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Send the next request when an answer is whole."""
        self._received += data
        end = self._received.find(_END_OF_HEAD)
        if end < 0:
            return
        head = self._received[:end].lower()
        start = head.index(_LENGTH) + len(_LENGTH)
        length = int(head[start:].split(b"\r\n", 1)[0])
        if len(self._received) < end + len(_END_OF_HEAD) + length:
            return
        self.failed += b" 200 " not in head[:20]
        self._latencies.append(time.perf_counter() - self._sent_at)
        self._received = b""
        if self._sent_at > self._deadline:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))


async def load(port: int, requests: Iterator[bytes], clients: int, seconds: float) -> dict[str, float]:
    """Send requests by so many clients for so many seconds."""
    latencies: list[float] = []
    began = time.perf_counter()
    connections = [
        (
            await asyncio.get_running_loop().create_connection(
                lambda: Client(requests, began + seconds, latencies), "127.0.0.1", port
            )
        )[1]
        for _ in range(clients)
    ]
    await asyncio.gather(*(connection.ended for connection in connections))
    p50, p99 = np.quantile(latencies, (0.5, 0.99)) * 1000
    failed = sum(connection.failed for connection in connections)
    return {
        "requests": len(latencies),
        "seconds": time.perf_counter() - began,
        "p50": float(p50),
        "p99": float(p99),
        "failed": failed,
    }


def main() -> None:
    port, path, body_file, clients, seconds, *rest = sys.argv[1:]
    key, count = rest[0] if rest else "", int(rest[1]) if len(rest) > 1 else 1
    body = Path(body_file).read_bytes()
    lines = [f"Host: 127.0.0.1:{port}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    rest_of_head = "\r\n".join([*lines, "", ""])
    paths = [path.replace("*", str(number)) for number in range(count)]
    requests = itertools.cycle([f"POST {each} HTTP/1.1\r\n{rest_of_head}".encode() + body for each in paths])
    print(json.dumps(uvloop.run(load(int(port), requests, int(clients), float(seconds)))))


if __name__ == "__main__":
    main()
