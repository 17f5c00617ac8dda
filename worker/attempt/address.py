"""The address of this worker's machine, by which other workers reach it."""

import socket

from sqlalchemy import make_url

from app.settings import Settings

_LOOPBACK = "127.0.0.1"


def own_address(settings: Settings) -> str:
    """Return the address that is set, or else the one from which this machine reaches the database.

    Nothing is sent: the socket only asks the system which way it would take.
    """
    if settings.worker_address:
        return settings.worker_address
    url = make_url(settings.sql_url)
    if not url.host:
        return _LOOPBACK
    family, kind, _, _, target = socket.getaddrinfo(url.host, url.port or 5432, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        address: str = probe.getsockname()[0]
    return address
