"""A real receiver of webhooks, in a thread of this process."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.servers import wait_until


@dataclass
class Message:
    """What came, and when."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Answers each message as `answer` says: a status, or a function that writes to the handler by itself."""

    def __init__(self, port: int = 0, certificate: Path | None = None, host: str = "127.0.0.1") -> None:
        self.messages: list[Message] = []
        self.answer: Callable[[Message], int | Callable[[Any], None]] = lambda _: 204
        self.retry_after: str | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                message = Message(self.path, headers, body)
                receiver.messages.append(message)
                answer = receiver.answer(message)
                with suppress(OSError):
                    if callable(answer):
                        answer(self)
                        return
                    self.send_response(answer)
                    if receiver.retry_after:
                        self.send_header("retry-after", receiver.retry_after)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A sender that hangs up is none."""

        self._server = Server((host, port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self.url = f"http{'s' if certificate else ''}://{host}:{self.port}/hook?of=tests"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def wait(self, number: int) -> list[Message]:
        wait_until(lambda: len(self.messages) >= number, f"{number} messages have come")
        return self.messages

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving(**options: Any) -> Iterator[Receiver]:
    receiver = Receiver(**options)
    try:
        yield receiver
    finally:
        receiver.stop()
