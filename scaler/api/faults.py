"""What is wrong with a document, in words for the one who wrote it: place, value, limit, what to do."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from scaler.api.fields import PATTERN_SAYS
from scaler.api.rules import Path, parts
from scaler.api.v1alpha1 import ScalingPolicy

MAX_SHOWN: Final = 40
SIMPLE_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong in a file.

    ``document`` counts from 1 and is None where the file as a whole is at fault; ``field`` is a path such as
    ``spec.versions[1].name``, empty for the whole document; ``value`` is shortened, None where there is none to show.
    """

    file: str
    document: int | None
    field: str
    value: str | None
    message: str

    def __str__(self) -> str:
        place = [_printable(self.file)]
        if self.document is not None:
            place.append(f"document {self.document}")
        if self.field:
            place.append(self.field if self.value is None else f"{self.field} = {self.value}")
        return ": ".join([*place, self.message])


def dotted(at: Path) -> str:
    """A path as people write it: ``spec.versions[1].name``."""
    path = ""
    for part in at:
        if isinstance(part, int):
            path += f"[{part}]"
        elif SIMPLE_KEY.fullmatch(part):
            path += f".{part}" if path else part
        else:
            path += f"[{shown(part)}]"
    return path


def shown(value: object) -> str | None:
    """A scalar as it stands in a file, on one line and cut short; None for what is not a scalar."""
    if isinstance(value, str):
        return _printable(json.dumps(_cut(value), ensure_ascii=False))
    return _cut(json.dumps(value)) if isinstance(value, int | float) else None


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def _printable(text: str) -> str:
    """``text`` without anything that could move the cursor or turn the writing round."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


# --- What pydantic found -----------------------------------------------------------------------------------------

Limits = Mapping[str, Any]

SENTENCES: Final[Mapping[str, Callable[[Limits], str]]] = {
    "missing": lambda _: "is required",
    "model_type": lambda _: "must be a mapping (field: value)",
    "dict_type": lambda _: "must be a mapping (field: value)",
    "tuple_type": lambda _: "must be a list",
    "string_type": lambda _: "must be text: put it in quotes",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "bool_type": lambda _: "must be true or false",
    "finite_number": lambda _: "must be a finite number",
    "enum": lambda limits: f"must be {_words(limits['expected'])}",
    "literal_error": lambda limits: f"must be {_words(limits['expected'])}",
    "greater_than": lambda limits: f"must be more than {limits['gt']:g}",
    "greater_than_equal": lambda limits: f"must be at least {_number(limits['ge'])}",
    "less_than": lambda limits: f"must be less than {limits['lt']:g}",
    "less_than_equal": lambda limits: f"must be at most {_number(limits['le'])}",
    "string_too_short": lambda limits: _length("at least", limits["min_length"], "character"),
    "string_too_long": lambda limits: _length("at most", limits["max_length"], "character"),
    "too_short": lambda limits: f"must have {_counted('at least', limits['min_length'])}",
    "too_long": lambda limits: f"must have {_counted('at most', limits['max_length'])}",
    "string_pattern_mismatch": lambda limits: PATTERN_SAYS[limits["pattern"]],
}
"""The sentence for each kind of error that these models can give, from the limits that pydantic names."""

NOT_TEXT: Final = frozenset({"int_type", "float_type", "bool_type"})


def sentence(error: ErrorDetails) -> str:
    """What is wrong, and what the limit is."""
    if error["type"] == "extra_forbidden":
        return _unknown(str(error["loc"][-1]), _fields_at(error["loc"][:-1]))
    text = SENTENCES[error["type"]](error.get("ctx", {}))
    is_quoted = error["type"] in NOT_TEXT and isinstance(error["input"], str)
    return f"{text}, not text" if is_quoted else text


def _number(limit: float) -> str:
    return f"{limit:.15g}"


def _counted(bound: str, limit: int, thing: str = "entry") -> str:
    plural = "entries" if thing == "entry" else f"{thing}s"
    return f"{bound} {limit} {thing if limit == 1 else plural}"


def _length(bound: str, limit: int, thing: str) -> str:
    return f"must be {_counted(bound, limit, thing)} long"


def _words(expected: str) -> str:
    """Without their quotes, the words of pydantic's "'A', 'B' or 'C'"."""
    words = expected.replace("'", "")
    return f"one of {words}" if " or " in words else words


def _unknown(name: str, fields: Iterable[str]) -> str:
    known = tuple(fields)
    if close := get_close_matches(name, known, n=1):
        return f"is not a field here: did you mean {close[0]}?"
    return f"is not a field here: there are {', '.join(known)}"


def _fields_at(at: Path, model: type[BaseModel] = ScalingPolicy) -> list[str]:
    """The names on the wire of the fields of what is at ``at`` in ``model``."""
    for part in at:
        model = model if isinstance(part, int) else parts(model)[part]
    return [str(field.alias) for field in model.model_fields.values()]
