"""References to models: `mdl_...`, `name` (the newest version), `name@version` or `name@alias`."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from app.kit.ids import is_id

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
ALIAS = r"^(?=.*[^0-9])[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
MAX_REF = 250


def _refuse_id(name: str) -> str:
    if is_id(name, "mdl"):
        msg = "a name that looks like a model's id could never be asked for"
        raise ValueError(msg)
    return name


ModelName = Annotated[str, StringConstraints(pattern=NAME), AfterValidator(_refuse_id)]
_NAME, _ALIAS = re.compile(NAME[:-1] + r"\Z"), re.compile(ALIAS[:-1] + r"\Z")
_MAX_VERSION = 2**31 - 1


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
    """Whether `text` is a valid alias: shaped like a name, but not only digits, which would be a version."""
    return _ALIAS.match(text) is not None


def parse(text: str) -> Ref | None:
    """Parse a reference; return None if it is not valid."""
    if is_id(text, "mdl"):
        return Ref(id=text)
    name, at, selector = text.partition("@")
    if _NAME.match(name) is None:
        return None
    if not at:
        return Ref(name=name)
    if re.fullmatch("[0-9]{1,10}", selector):
        version = int(selector)
        return Ref(name=name, version=version) if version <= _MAX_VERSION else None
    return Ref(name=name, alias=selector) if is_alias(selector) else None


def as_name(text: str) -> str:
    """Convert any text to a valid name of a model."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100] or "model"
