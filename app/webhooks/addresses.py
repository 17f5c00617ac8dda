"""Addresses of receivers: what a URL may be, and which IP addresses may be connected to (SSRF).

A URL is parsed here alone: the check and the connection use the same `Target`. A name is resolved once for each
attempt. What it resolves to is judged as an address, whatever it was spelled like, and the connection goes to exactly
that address: a name that means another one at the next look (DNS rebinding) is of no use.
"""

import ipaddress
import queue
import re
import socket
import threading
from dataclasses import dataclass

import psutil

from app.settings import Settings

MAX_URL = 2000
_PORTS = {"https": 443, "http": 80}
_MAX_PORT = 65_535
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)",
    re.IGNORECASE,
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_V4_MASK = (1 << 32) - 1

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RefusedAddressError(Exception):
    """A receiver that is not sent to; the message says why, and what to do."""


class UnresolvedError(Exception):
    """No address of a name is known at the moment."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL: what is resolved, connected to and asked."""

    scheme: str
    host: str  # without brackets
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """Parse the URL of a receiver. Raises RefusedAddressError for one that is not of the plain form."""
    match = _URL.fullmatch(url)
    if match is None:
        raise RefusedAddressError(_why_not(url))
    scheme, host = match["scheme"].lower(), match["host"].strip("[]").removesuffix(".").lower()
    port = int(match["port"]) if match["port"] else _PORTS[scheme]
    if not 0 < port <= _MAX_PORT:
        msg = f"a port is a number from 1 to {_MAX_PORT}"
        raise RefusedAddressError(msg)
    if match["host"].startswith("[") and not _is_ipv6(host):
        msg = "what stands in brackets is an IPv6 address"
        raise RefusedAddressError(msg)
    path = match["target"]
    return Target(scheme, host, port, path if path.startswith("/") else f"/{path}")


def _why_not(url: str) -> str:
    """Say what is wrong with a URL, without repeating it: it may hold a password."""
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    reasons = {
        "write a whole URL that begins with https://": not separator or scheme.lower() not in _PORTS,
        "a URL holds no blanks and no control characters": any(c.isspace() or not c.isprintable() for c in url),
        "a URL holds no backslash": "\\" in url,
        "a receiver is not sent what follows a #: leave it out": "#" in url,
        "leave out user name and password: messages are known by their signatures": "@" in authority,
        "write the URL in ASCII: names as xn--..., other characters as %XX": not url.isascii(),
    }
    form = "this is no URL of the form https://host:port/path?query"
    return next((reason for reason, applies in reasons.items() if applies), form)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Policy:
    """Which receivers are sent to."""

    http: bool
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    own_names: frozenset[str]
    own_port: int

    @staticmethod
    def of(settings: Settings) -> "Policy":
        """Return what the settings allow."""
        names = frozenset(name.lower() for name in settings.allowed_hosts)
        return Policy(settings.webhook_http, tuple(settings.webhook_networks), names, settings.port)

    def check(self, target: Target) -> None:
        """Check what needs no resolving of the name. Raises RefusedAddressError."""
        if target.scheme == "http" and not self.http:
            msg = "only https is sent to, unless who runs the service sets GRAFTWORK_WEBHOOK_HTTP"
            raise RefusedAddressError(msg)
        if target.host in self.own_names and target.port in (*_PORTS.values(), self.own_port):
            raise _our_own()

    def addresses(self, target: Target, seconds: float) -> list[Address]:
        """Resolve a name and return the addresses that may be connected to, in order.

        Raises:
            RefusedAddressError: there is none among those that it resolves to.
            UnresolvedError: the name has no address, or it was not found within `seconds`.
        """
        self.check(target)
        addresses = resolve(target.host, target.port, seconds)
        allowed = [address for address in addresses if self._may_reach(address)]
        if not allowed:
            msg = (
                "its host has no public address; who runs the service may allow a network by GRAFTWORK_WEBHOOK_NETWORKS"
            )
            raise RefusedAddressError(msg)
        if target.port == self.own_port and any(is_own(each) for address in allowed for each in spellings(address)):
            raise _our_own()
        return allowed

    def _may_reach(self, address: Address) -> bool:
        """Whether an address, and the IPv4 address that it stands for, are public or of an allowed network."""
        return all(is_public(each) or self._is_listed(each) for each in spellings(address))

    def _is_listed(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.networks)


def _our_own() -> RefusedAddressError:
    return RefusedAddressError("this is the address of this service itself: name another receiver")


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet, for one host."""
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    is_site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not special and not is_site_local


def spellings(address: Address) -> list[Address]:
    """Return an IPv4 address by itself; an IPv6 one that stands for an IPv4 address as that one; else as it is.

    They are mapped (::ffff:0:0/96) and compatible ones (::/96), of 6to4 (2002::/16), NAT64 (64:ff9b::/96) and Teredo.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return [address, *address.teredo]
    if address in _NAT64 or (address in _COMPATIBLE and not (address.is_loopback or address.is_unspecified)):
        return [ipaddress.IPv4Address(int(address) & _V4_MASK)]
    return [address]


def is_own(address: Address) -> bool:
    """Whether an address leads to this machine."""
    if address.is_loopback or address.is_unspecified:
        return True
    entries = (entry for interface in psutil.net_if_addrs().values() for entry in interface)
    return str(address) in {entry.address.partition("%")[0] for entry in entries}


def resolve(host: str, port: int, seconds: float) -> list[Address]:
    """Return the addresses of a name, in order. Raises UnresolvedError where there is none within `seconds`."""
    answers: queue.SimpleQueue[list[Address] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:  # a resolver has no timeout of its own
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(error)
        else:
            answers.put([ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries])

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=max(seconds, 0.001))
    except queue.Empty:
        msg = f"its host could not be resolved within {seconds:.0f} s"
        raise UnresolvedError(msg) from None
    if isinstance(answer, Exception) or not answer:
        msg = "its host has no address: check the name"
        raise UnresolvedError(msg)
    return list(dict.fromkeys(answer))
