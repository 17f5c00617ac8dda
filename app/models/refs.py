"""References to models: `mdl_...`, `name` (the newest version), `name@version` or `name@alias`."""

import re
from typing import Annotated
from unicodedata import category, normalize

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.kit.ids import is_id

MAX_NAME = 100
MAX_REF = 250
_MAX_VERSION = 2**31 - 1
_JOINERS = "\u200c\u200d"  # invisible, and part of the spelling of words in several scripts
NAME = (
    f"1 to {MAX_NAME} letters and digits of any script, dots, underscores and hyphens, a letter or digit first; "
    "no blanks, no / and no @"
)


def _is_name(text: str) -> bool:
    """Whether `text` is a valid name in Unicode's composed form (NFC)."""
    is_first_valid = category(text[:1] or " ")[0] in "LN"
    return is_first_valid and len(text) <= MAX_NAME and all(map(_is_inner, text)) and text[-1] not in _JOINERS


def _is_inner(character: str) -> bool:
    """Whether a character may be in a name: a letter, mark or digit, or what joins words."""
    return character in "._-" or character in _JOINERS or category(character)[0] in "LMN"


def _to_name(text: str) -> str:
    name = normalize("NFC", text)
    if not _is_name(name):
        msg = f"a name has {NAME}"
        raise ValueError(msg)
    if is_id(name, "mdl"):
        msg = "a name that looks like a model's id could never be asked for"
        raise ValueError(msg)
    return name


def _to_alias(text: str) -> str:
    alias = normalize("NFC", text)
    if not is_alias(alias):
        msg = f"an alias has {NAME}; digits alone would be a version"
        raise ValueError(msg)
    return alias


ModelName = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_to_name)]
AliasName = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_to_alias)]


class Ref(BaseModel):
    """A parsed reference: an id, or a name with at most one of version and alias."""

    model_config = ConfigDict(frozen=True)

    id: str | None = None
    name: str | None = None
    version: int | None = None
    alias: str | None = None

    @property
    def is_bare_name(self) -> bool:
        """Whether it names no version, so that what it means changes with every new one."""
        return self.name is not None and self.version is None and self.alias is None


def is_alias(text: str) -> bool:
    """Whether `text` is a valid alias: a name, but not of digits alone, which would be a version."""
    return _is_name(text) and not text.isdigit()


def parse(text: str) -> Ref | None:
    """Parse a reference; return None if it is not valid."""
    if is_id(text, "mdl"):
        return Ref(id=text)
    name, at, selector = normalize("NFC", text).partition("@")
    if not _is_name(name):
        return None
    if not at:
        return Ref(name=name)
    if re.fullmatch("[0-9]{1,10}", selector):
        version = int(selector)
        return Ref(name=name, version=version) if version <= _MAX_VERSION else None
    return Ref(name=name, alias=selector) if is_alias(selector) else None


def as_name(text: str) -> str:
    """Convert any text to a valid name of a model."""
    composed = normalize("NFC", text)
    name = re.sub("-{2,}", "-", "".join(character if _is_inner(character) else "-" for character in composed))
    while name and category(name[0])[0] not in "LN":
        name = name[1:]
    return name[:MAX_NAME].rstrip("-._" + _JOINERS) or "model"
