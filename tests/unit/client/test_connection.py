"""Which URLs and keys can be those of a service, and what is said of others."""

import ssl

import pytest

from graftwork import AsyncGraftwork, ConnectionSettingsError, Graftwork
from graftwork.connection import checked_key, checked_url, trust_for


@pytest.mark.parametrize("kind", [Graftwork, AsyncGraftwork])
def test_a_url_without_its_scheme_is_refused_with_the_one_to_write(kind: type[Graftwork]) -> None:
    with pytest.raises(ConnectionSettingsError, match='write "http://localhost:8000"') as caught:
        kind("localhost:8000", "a-key")
    assert isinstance(caught.value, ValueError)
    assert (caught.value.code, caught.value.status) == ("connection_settings", None)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("", "GRAFTWORK_URL"),
        ("   ", "GRAFTWORK_URL"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("service.local/models", "http://service.local/models"),
        ("//service:8000", "http://service:8000"),
        ("ftp://service", "http://service"),
        ("http://", "http://HOST:PORT"),
        ("http:///v1", "http://HOST:PORT"),
        ("http://service:99999", "HOST:PORT"),
        ("http://service:port", "HOST:PORT"),
        ("http://[::1", "HOST:PORT"),
        ("https://user:secret@service", "leave them out"),
        ("http://service/#/jobs", '"http://service/"'),
        ("http://service/?key=x", '"http://service/"'),
    ],
)
def test_what_is_no_url_of_a_service(url: str, remedy: str) -> None:
    with pytest.raises(ConnectionSettingsError) as caught:
        checked_url(url)
    assert remedy in str(caught.value.remedy)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "https://service/under/a/path", "http://[::1]:80/", " http://x\n"]
)
def test_what_is_one(url: str) -> None:
    assert checked_url(url) == url.strip()


@pytest.mark.parametrize(
    "key", ["", "  ", "Bearer secret", "bearer secret", "two secrets", "sécret", "secret\x07", "a\nsecret"]
)
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ConnectionSettingsError) as caught:
        checked_key(key)
    assert "ecret" not in str(caught.value)


def test_a_key_as_a_file_has_it() -> None:
    assert checked_key(" a-key\n") == "a-key"


def test_the_environment_says_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTWORK_URL", "http://service:1")
    monkeypatch.setenv("GRAFTWORK_KEY", "a-key")
    with Graftwork() as graftwork:
        assert graftwork._transport.url == "http://service:1"
        assert graftwork._transport._http.headers["authorization"] == "Bearer a-key"
    monkeypatch.delenv("GRAFTWORK_URL")
    with pytest.raises(ConnectionSettingsError, match="GRAFTWORK_URL"):
        Graftwork()


def test_plain_http_reads_no_certificates_and_would_trust_none() -> None:
    assert trust_for("https://host") is True
    context = trust_for("http://host")
    assert isinstance(context, ssl.SSLContext)
    assert context.get_ca_certs() == []
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
