"""The URL and the key of a service, as they were given or as the environment has them."""

import os
import ssl
from urllib.parse import urlsplit

from graftwork.errors import ConnectionSettingsError

URL_VARIABLE, KEY_VARIABLE = "GRAFTWORK_URL", "GRAFTWORK_KEY"


def checked_url(url: str | None) -> str:
    """Return the URL of a service; None is what GRAFTWORK_URL says.

    Raises:
        ConnectionSettingsError: it is not one, such as one without its scheme.
    """
    url = (os.environ.get(URL_VARIABLE, "") if url is None else str(url)).strip()
    if not url:
        msg = "no URL of the service was given"
        raise ConnectionSettingsError(msg, remedy=f'write it as "http://127.0.0.1:8000", or set {URL_VARIABLE}')
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        msg = f"{url!r} is no URL ({error})"
        raise ConnectionSettingsError(msg, remedy='write it as "http://HOST:PORT"') from None
    if parts.scheme not in {"http", "https"}:
        msg = f"{url!r} lacks its scheme" if "://" not in url else f"{url!r} is no address of HTTP"
        raise ConnectionSettingsError(msg, remedy=f'write "http://{url.rpartition("://")[2].lstrip("/")}" (or https)')
    if not host:
        msg = f"{url!r} names no host"
        raise ConnectionSettingsError(msg, remedy='write it as "http://HOST:PORT"')
    if parts.username is not None:
        msg = "the URL holds a user or a password"
        raise ConnectionSettingsError(msg, remedy="leave them out: a key is all that the service asks for")
    if parts.query or parts.fragment:
        msg = f"{url!r} is the address of a page"
        raise ConnectionSettingsError(msg, remedy=f'write "{parts.scheme}://{parts.netloc}{parts.path}"')
    return url


def checked_key(key: str | None) -> str:
    """Return an API key without white space around it; None is what GRAFTWORK_KEY says. No error repeats a key.

    Raises:
        ConnectionSettingsError: it cannot be a key.
    """
    key = (os.environ.get(KEY_VARIABLE, "") if key is None else str(key)).strip()
    if not key:
        msg = "no key was given"
        raise ConnectionSettingsError(
            msg, remedy=f"give one, or set {KEY_VARIABLE}; `graftwork server keys create` makes one"
        )
    if key.lower().startswith("bearer "):
        msg = "the key begins with the word Bearer"
        raise ConnectionSettingsError(msg, remedy="leave the word out")
    if not key.isascii() or not key.isprintable() or " " in key:
        msg = "the key holds white space, or letters that no key has"
        raise ConnectionSettingsError(msg, remedy="give it as it was printed when it was made, on one line")
    return key


def trust_for(url: str) -> ssl.SSLContext | bool:
    """Return how certificates are verified: for plain HTTP by none, since to read the trusted ones takes 40 ms."""
    return True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
