"""What every model of the API shares: frozen, closed to unknown fields, camelCase on the wire, and rules across fields.

A rule is said once, next to the fields it binds: in CEL for the API server, in Python for a file. It refuses to change
or to repair a document; it only says what is wrong where.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self, get_args

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

Path = tuple[str | int, ...]
"""The way to a field, by its names on the wire and its indexes."""

HERE: Final = "{here}"
"""Stands in a breach's text for the path of the model that has the rule, which only the reader of a document knows."""

UNJUDGED: Final = "unjudged"
"""The validation context that leaves the rules to the caller, who wants all their breaches with full paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One field that breaks a rule: the way to it from the rule's model, its value, and what it must be."""

    at: Path
    value: object
    text: str

    def said(self, here: str) -> str:
        """The text for a model that is found at path ``here``."""
        return self.text.replace(HERE, f"{here}." if here else "")


Check = Callable[[Any], Iterator[Breach]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One limit across fields, for both who keep it.

    ``at`` and ``says`` are where and what the API server reports when ``cel`` is false. ``cel`` None means that the
    API server keeps it by other means (a list's type) or cannot know it; the check's docstring says which.
    """

    name: str
    cel: str | None
    at: str
    says: str
    breaches: Check

    def validation(self) -> dict[str, str | None]:
        """This rule as an entry of x-kubernetes-validations."""
        return {"rule": self.cel, "message": self.says, "fieldPath": f".{self.at}"}


def rule(*, cel: str | None, at: str, says: str) -> Callable[[Check], Rule]:
    """Make a method that yields breaches into a rule of its model."""

    def declare(check: Check) -> Rule:
        return Rule(name=getattr(check, "__name__", at), cel=cel, at=at, says=says, breaches=check)

    return declare


def at_most(at: Path, value: float, limit: str, highest: float) -> Iterator[Breach]:
    """A breach where ``value`` is over ``highest``, the value of the field ``limit``."""
    if value > highest:
        yield Breach(at=at, value=value, text=f"must be at most {HERE}{limit} ({highest})")


def once(at: Path, field: str, values: list[str]) -> Iterator[Breach]:
    """A breach for each of ``values`` (the ``field`` of each entry of the list at ``at``) that was there before."""
    for index, value in enumerate(values):
        first = values.index(value)
        if first < index:
            place = ".".join(str(part) for part in at)
            where = (*at, index, field) if field else (*at, index)
            yield Breach(at=where, value=value, text=f"must be there once only, and is in {HERE}{place}[{first}] too")


class Spec(BaseModel):
    """A part of the API that a user writes."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        ignored_types=(Rule,),
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,  # for Python; documents are validated with by_name=False
    )

    @classmethod
    def rules(cls) -> tuple[Rule, ...]:
        """The rules of this model, in the order they are written."""
        return tuple(value for value in vars(cls).values() if isinstance(value, Rule))

    def breaches(self) -> tuple[Breach, ...]:
        """All breaches of this model's own rules."""
        return tuple(breach for kept in self.rules() for breach in kept.breaches(self))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with the rules in it, as the API server wants them."""
        reference = handler(core)
        if validations := [kept.validation() for kept in cls.rules() if kept.cel is not None]:
            handler.resolve_ref_schema(reference)["x-kubernetes-validations"] = validations
        return reference

    @model_validator(mode="after")
    def _keep_the_rules(self, info: ValidationInfo) -> Self:
        if info.context != UNJUDGED and (breaches := self.breaches()):
            text = "; ".join(f"{'.'.join(map(str, breach.at))}: {breach.said('')}" for breach in breaches)
            raise PydanticCustomError("rule", "{text}", {"text": text, "breaches": breaches})
        return self


def parts(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The models that a model's fields hold, one or a list of them, by the fields' names on the wire."""
    held = {str(field.alias): _model_in(field.annotation) for field in model.model_fields.values()}
    return {name: part for name, part in held.items() if part is not None}


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The one model in a type such as ``tuple[Target, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
