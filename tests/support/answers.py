"""Answers of models, to compare."""

from typing import Any


def flat(answer: Any, place: str = "") -> dict[str, Any]:
    """Return the numbers of an answer by their place in it."""
    if isinstance(answer, dict):
        return {name: value for key in answer for name, value in flat(answer[key], f"{place}.{key}").items()}
    if isinstance(answer, list):
        return {name: value for i, item in enumerate(answer) for name, value in flat(item, f"{place}.{i}").items()}
    return {} if isinstance(answer, str) else {place: answer}
