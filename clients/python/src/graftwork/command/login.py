"""The URL and key that `graftwork login` keeps, in a file that its user alone can read."""

import json
import os
from pathlib import Path

from graftwork.connection import KEY_VARIABLE, URL_VARIABLE
from graftwork.errors import ConnectionSettingsError

PRIVATE = 0o600


def file() -> Path:
    """Return where the login is kept: graftwork/login.json in XDG_CONFIG_HOME, or in ~/.config."""
    folder = os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "graftwork" / "login.json"


def keep(url: str, key: str) -> Path:
    """Write the login, and return its file."""
    path = file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)  # it is never readable by others
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        json.dump({"url": url, "key": key}, target)
    return scratch.replace(path)


def known(url: str | None) -> tuple[str | None, str | None]:
    """Return the URL and the key to ask with: the given URL and the environment, or else the login.

    The key of the login is for its own URL alone: it is sent to no other service.

    Raises:
        ConnectionSettingsError: the file of the login is damaged.
    """
    url, key = url or os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE)
    if url and key:
        return url, key
    try:
        kept = json.loads(file().read_text(encoding="utf-8"))
        kept_url, kept_key = str(kept["url"]), str(kept["key"])
    except FileNotFoundError:
        return url, key
    except (ValueError, KeyError, TypeError):
        msg = f"{file()} is damaged"
        raise ConnectionSettingsError(msg, remedy="run `graftwork login` again") from None
    same = url is None or url.rstrip("/") == kept_url.rstrip("/")
    return url or kept_url, key or (kept_key if same else None)
