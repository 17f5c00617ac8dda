"""Which receivers are sent to: URLs of the plain form, and addresses that are public or listed."""

import ipaddress
import socket
import threading
import time
from typing import Any

import pytest

from app.settings import Settings
from app.webhooks.addresses import Policy, RefusedAddressError, UnresolvedError, parse, resolve

STRICT = Policy.of(Settings())

PRIVATE = [
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://127.255.255.254/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a00:1::1]/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://100.64.0.1/",
    "https://100.100.100.200/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://[ff02::1]/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
]

MALFORMED = {
    "": "begins with https://",
    "example.com": "begins with https://",
    "//example.com/": "begins with https://",
    "file:///etc/passwd": "begins with https://",
    "gopher://example.com/": "begins with https://",
    "ftp://example.com/": "begins with https://",
    "data:text/plain,x": "begins with https://",
    "javascript://example.com/": "begins with https://",
    "https://user@example.com/": "user name",
    "https://user:secret@example.com/": "user name",
    "https://127.0.0.1:80@example.com/": "user name",
    "https://example.com@127.0.0.1/": "user name",
    "https://example.com/#fragment": "#",
    "https://example.com#@127.0.0.1/": "#",
    "https://example.com\\@127.0.0.1/": "backslash",
    "https://example.com/a b": "blanks",
    "https://example.com/\r\nX-Evil: 1": "blanks",
    "https://example.com/\x00": "blanks",
    "https://example.com/\t": "blanks",
    " https://example.com/": "begins with https://",
    "https://example.com/\u2028": "blanks",
    "https://ⓔxample.com/": "ASCII",
    "https://example.com/é": "ASCII",
    "https:///path": "of the form",
    "https://": "of the form",
    "https://exa%6dple.com/": "of the form",
    "https://[::1/": "of the form",
    "https://[fe80::1%25eth0]/": "of the form",
    "https://[12]/": "of the form|IPv6",
    "https://[1:2:3]/": "IPv6",
    "https://example.com:0/": "port",
    "https://example.com:65536/": "port",
    "https://example.com:https/": "of the form",
    "https://example.com:/": "of the form",
}


@pytest.mark.parametrize("url", PRIVATE)
def test_an_address_that_is_not_public_is_refused_however_it_is_spelled(url: str) -> None:
    with pytest.raises(RefusedAddressError, match="no public address"):
        STRICT.addresses(parse(url), 5)


@pytest.mark.parametrize("url", ["https://8.8.8.8/", "https://[2606:4700:4700::1111]:8443/x?y=1", "https://134744072/"])
def test_a_public_address_is_sent_to(url: str) -> None:
    assert STRICT.addresses(parse(url), 5)


@pytest.mark.parametrize("url", MALFORMED)
def test_only_urls_of_the_plain_form_are_parsed(url: str) -> None:
    with pytest.raises(RefusedAddressError, match=MALFORMED[url]) as error:
        parse(url)
    assert "secret" not in str(error.value)


def test_what_is_checked_is_what_is_asked() -> None:
    target = parse("HTTPS://Example.COM:8443/a/%2e%2e/b;c=@d?e=f?g&h=/i")
    assert (target.scheme, target.host, target.port) == ("https", "example.com", 8443)
    assert (target.path, target.authority) == ("/a/%2e%2e/b;c=@d?e=f?g&h=/i", "example.com:8443")
    assert parse("https://example.com?x=1").path == "/?x=1"
    assert parse("https://[2606:4700::1]").authority == "[2606:4700::1]"


def test_http_needs_the_setting() -> None:
    with pytest.raises(RefusedAddressError, match="GRAFTWORK_WEBHOOK_HTTP"):
        STRICT.check(parse("http://8.8.8.8/"))
    Policy.of(Settings(webhook_http=True)).check(parse("http://8.8.8.8/"))


def test_a_listed_network_is_sent_to_and_no_other() -> None:
    policy = Policy.of(Settings(webhook_networks=["10.1.0.0/16", "fd00:1::/32"]))  # type: ignore[list-item] # as text
    for url in ("https://10.1.2.3/", "https://[::ffff:10.1.2.3]/", "https://[fd00:1::5]/"):
        assert policy.addresses(parse(url), 5)
    for url in ("https://10.2.0.1/", "https://127.0.0.1/", "https://[fd00:2::5]/", "https://[2002:a02:1::]/"):
        with pytest.raises(RefusedAddressError):
            policy.addresses(parse(url), 5)


def test_the_service_itself_is_not_sent_to() -> None:
    networks = ["0.0.0.0/0", "::/0"]
    settings = Settings(port=8123, allowed_hosts=["Learn.Example"], webhook_http=True, webhook_networks=networks)  # type: ignore[arg-type] # as text
    policy = Policy.of(settings)
    hosts = ("learn.example", "LEARN.example.", "learn.example:8123", "127.0.0.1:8123", "[::1]:8123", "0x7f.1:8123")
    for host in (*hosts, "[::ffff:127.0.0.1]:8123", "0:8123", "127.9.9.9:8123"):
        with pytest.raises(RefusedAddressError, match="this service itself"):
            policy.addresses(parse(f"http://{host}/v1/jobs"), 5)
    assert policy.addresses(parse("http://127.0.0.1:8124/"), 5)


def test_of_several_addresses_only_public_ones_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, [["10.0.0.1", "8.8.8.8", "::1"]])
    assert STRICT.addresses(parse("https://both.example/"), 5) == [ipaddress.ip_address("8.8.8.8")]


def answer_with(monkeypatch: pytest.MonkeyPatch, answers: list[list[str]]) -> None:
    """Let the resolver give these answers, one after the other."""

    def resolver(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)


def test_a_name_without_an_address_may_have_one_later() -> None:
    with pytest.raises(UnresolvedError, match="no address"):
        resolve("nobody.invalid", 443, 30)
    with pytest.raises(UnresolvedError, match="no address"):
        resolve(f"{'a' * 70}.example", 443, 30)


def test_a_resolver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [][: release.wait(30)])
    began = time.monotonic()
    with pytest.raises(UnresolvedError, match="within"):
        resolve("slow.example", 443, 0.1)
    assert time.monotonic() - began < 10
    release.set()
    with pytest.raises(UnresolvedError, match="no address"):
        resolve("empty.example", 443, 30)
