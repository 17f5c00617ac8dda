"""Requests and resolved configs: what becomes of a field that says "auto".

A family of kinds has two base classes. A *request* is what a user may write: some of its fields may be "auto". A
*config* is a request in which nothing is "auto", by its types; it alone can build. A kind without such fields is one
class, and its own resolved config. A kind with such fields is two:

    class Mlp(BackboneRequest):                   hidden: Auto[Widths];  says what "auto" becomes
    class ResolvedMlp(Mlp, BackboneConfig):       hidden: Widths;        builds

Both have the same fields and the same JSON.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Self, TypeVar, Union, get_args

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, to_jsonable_python

from app.ml.spec import Decision, Frozen, ModalityKind

Shape = tuple[int, ...]
Choices = Mapping[str, tuple[Any, str]]
"""By field: what "auto" becomes there, and why."""
Value = TypeVar("Value", bound=Frozen)
Resolved_co = TypeVar("Resolved_co", bound=Frozen, covariant=True)


Decisions = tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class ResolutionContext:
    """What the resolution of `"auto"` fields may depend on: the data, the heads and where the backbone comes from."""

    modality: ModalityKind
    shape: Shape  # of one row as stored: (H, W, C) or (D,)
    train_rows: int
    pretrained: bool = False  # whether the backbone comes from a model
    causal: bool = False  # whether step t of a sequence may only see the steps up to t
    continuous: bool = False  # whether texts are pieces of one long text
    solvable: bool = True  # whether the best weights of every head can be solved for
    linear: bool = True  # whether none of them learns an estimator
    labelled_rows: int = 0  # of all splits
    usual_splits: bool = False  # whether nobody said how rows are split


class Config(Frozen):
    """A validated choice among the kinds of a family."""

    kind: str


class Resolvable(ABC, Generic[Resolved_co]):
    """A request of a family, whose resolved configs are `Resolved_co`."""

    @classmethod
    @abstractmethod
    def resolved_type(cls) -> type[Resolved_co]:
        """Return the class of the resolved config."""

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` where this cannot fit; fields are named relative to it."""

    def choices(self, context: ResolutionContext) -> Choices:
        """Return what each field that may be "auto" becomes, and why; fields that are given are left alone."""
        return {}

    def resolve(self, context: ResolutionContext) -> tuple[Resolved_co, Decisions]:
        """Return the config without any "auto", and what was decided. Raises `ConfigError`."""
        assert isinstance(self, Config)
        self.check(context)
        return filled(self, self.resolved_type(), self.choices(context))


class Complete:
    """A config with nothing left to choose: its own resolved config."""

    @classmethod
    def resolved_type(cls) -> type[Self]:
        """Return this class."""
        return cls


def filled(request: Frozen, kind: type[Value], choices: Choices, prefix: str = "") -> tuple[Value, Decisions]:
    """Return a request as its resolved class, with `choices` where fields are "auto", and the decisions this makes.

    Other fields are taken over as they are; `prefix` is put before the names of fields in the decisions.
    """
    fields = dict(request)
    open_fields = {name: choice for name, choice in choices.items() if fields[name] == "auto"}
    config = kind.model_validate(fields | {name: value for name, (value, _) in open_fields.items()})
    return config, tuple(
        Decision(field=f"{prefix}{name}", value=to_jsonable_python(value), reason=reason)
        for name, (value, reason) in open_fields.items()
    )


@dataclass(frozen=True, slots=True)
class ResolvedKinds:
    """Makes pydantic read a family's config as the resolved class of one of the kinds in its union of requests.

    `Annotated[BackboneConfig, ResolvedKinds(AnyBackbone)]`: so a kind is listed once, in the union.
    """

    union: Any

    def members(self) -> tuple[type[Frozen], ...]:
        """Return the resolved classes, in the union's order."""
        return tuple(member.resolved_type() for member in get_args(get_args(self.union)[0]))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(Annotated[Union[self.members()], Field(discriminator="kind")])  # noqa: UP007 - made here
