"""The base of all answers: attributes with types, and the JSON as it came."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PrivateAttr, ValidationError, model_validator

Json: TypeAlias = dict[str, Any]


class Answer(BaseModel):
    """An answer of the service: `answer.field` has its type, `answer["field"]` is the JSON as it came.

    A newer service may answer with fields and values that this client does not know, an older one without some: what
    does not have its type is left as it came, further fields are attributes, too, and a missing one is missing.
    """

    model_config = ConfigDict(extra="allow", defer_build=True, protected_namespaces=(), populate_by_name=True)

    _json: Json = PrivateAttr(default_factory=dict)

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """Return the answer that is written as `json`."""
        return cls.model_validate(json)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_json(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, dict):
            return handler(value)
        try:
            answer = handler(value)
        except ValidationError:
            answer = cls._of_fitting_fields(value)
        answer._json = value  # noqa: SLF001 - its own
        return answer

    @classmethod
    def _of_fitting_fields(cls, value: Json) -> Self:
        """Read field by field: one that does not have its type stays as it came."""
        answer = cast("Self", cls.model_construct(_fields_set=set()))
        names = {field.alias or name: name for name, field in cls.model_fields.items()}
        for key, item in value.items():
            name = names.get(key, key)
            try:
                cls.__pydantic_validator__.validate_assignment(answer, name, item)
            except ValidationError:
                answer.__dict__[name] = item
        for name in set(cls.model_fields) - {names.get(key, key) for key in value}:
            answer.__dict__.pop(name, None)
        return answer

    if not TYPE_CHECKING:  # a type checker shall find misspelt names

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                if name not in type(self).model_fields:
                    raise
                msg = f'this {type(self).__name__} came without {name!r}: entries of a list have all with view="full"'
                raise AttributeError(msg, name=name, obj=self) from None

    def to_dict(self) -> Json:
        """Return the JSON as it came."""
        return self._json

    # ---- the JSON as a mapping --------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        return self._json[name]

    def __contains__(self, name: object) -> bool:
        return name in self._json

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # a mapping's keys, not pydantic's pairs
        return iter(self._json)

    def __len__(self) -> int:
        return len(self._json)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self._json == (other._json if isinstance(other, Answer) else other)

    __hash__ = None  # type: ignore[assignment]  # as of any mapping

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._json!r})"

    __str__ = __repr__

    def keys(self) -> KeysView[str]:
        """Return the names of the fields that came."""
        return self._json.keys()

    def values(self) -> ValuesView[Any]:
        """Return the values that came."""
        return self._json.values()

    def items(self) -> ItemsView[str, Any]:
        """Return names and values as they came."""
        return self._json.items()

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value that came under a name, or else `default`."""
        return self._json.get(name, default)
