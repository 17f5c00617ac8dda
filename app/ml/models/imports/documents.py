"""Documents that come with weights, such as a config.json: which of their fields are taken, and which are refused."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from app.ml.errors import Location, WeightsError
from app.ml.spec import Frozen

_MAX_ERRORS = 20
Document = TypeVar("Document", bound=Frozen)


def refusal(loc: Location, msg: str) -> WeightsError:
    """Return the error of a field that is wrong, or does not belong to the weights."""
    return WeightsError([(loc, msg)], code="weights_do_not_fit")


def refuse_others(document: Any, known: Mapping[str, Sequence[Any]]) -> None:
    """Refuse a config.json with another value than the `known` ones of a field; a missing field is passed over.

    Raises `WeightsError`: it is of a network that is not known here, or no object.
    """
    if not isinstance(document, dict):
        raise refusal(("config",), "a config is a JSON object")
    for name, values in known.items():
        if name in document and document[name] not in values:
            words = ", ".join(repr(value) for value in values)
            raise refusal(("config", name), f"only {words} is known here, and this is another network")


def validated(kind: type[Document], document: Any, field: str) -> Document:
    """Take from a document what `kind` has. Raises `WeightsError` naming what is missing or wrong below `field`."""
    try:
        return kind.model_validate(document)
    except pydantic.ValidationError as error:
        items = error.errors(include_url=False, include_input=False, include_context=False)
        wrong: list[tuple[Location, str]] = [((field, *item["loc"]), item["msg"]) for item in items[:_MAX_ERRORS]]
        raise WeightsError(wrong, code="weights_do_not_fit") from None
