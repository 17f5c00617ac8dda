"""Parts that models in memory have in common: many heads share one backbone, and one preprocessing."""

import hashlib
import threading
from typing import Any, TypeVar
from weakref import WeakValueDictionary

Value = TypeVar("Value")


class SharedParts:
    """Parts by their content, each for as long as a model has it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._parts: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        """Return a part that a model in memory has, None for any other."""
        with self._lock:
            return self._parts.get(key)

    def adopt(self, key: str, part: Value) -> Value:
        """Keep a part, and return it; or the equal one that another model has already."""
        with self._lock:
            adopted: Value = self._parts.setdefault(key, part)
            return adopted


def key_of(kind: str, *content: str) -> str:
    """Return the key of a part by all that it is made of."""
    return f"{kind}:{hashlib.sha256(chr(0).join(content).encode()).hexdigest()}"
