"""From YAML files to ScalingPolicy objects, with every fault at once and never a traceback.

A document is refused as a whole: nothing is repaired, nothing that is wrong is left out. What the API server would
default is defaulted here too, and what it would refuse is refused here, in plainer words.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scaler.api.faults import Fault, dotted, sentence, shown
from scaler.api.rules import UNJUDGED, Path, Spec, parts
from scaler.api.tree import MAX_BYTES, REFUSED, Flaw, Tree, UnreadableError, trees
from scaler.api.v1alpha1 import API_VERSION, KIND, ScalingPolicy

MAX_FAULTS: Final = 100
"""The most faults that are told of one document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was read: the sound policies, in order, and the faults of everything else."""

    policies: tuple[ScalingPolicy, ...]
    faults: tuple[Fault, ...]


def check_files(paths: Iterable[FilePath | str]) -> Checked:
    """Read the ScalingPolicy documents of files, in which each policy may be there once only."""
    policies: list[ScalingPolicy] = []
    faults: list[Fault] = []
    places: dict[str, str] = {}
    for path in paths:
        for number, outcome in _outcomes(path):
            if not isinstance(outcome, ScalingPolicy):
                faults.extend(outcome)
                continue
            name, place = _name(outcome), f"{path}, document {number}"
            if (first := places.setdefault(name, place)) == place:
                policies.append(outcome)
            else:
                flaw = Flaw(at=("metadata", "name"), value=name, message=f"is in {first} too: remove or rename one")
                faults.append(_fault(flaw, str(path), number))
    return Checked(policies=tuple(policies), faults=tuple(faults))


def check_bytes(raw: bytes, file: str) -> Checked:
    """Read the documents of one file's content; ``file`` is what the faults call it."""
    policies: list[ScalingPolicy] = []
    faults: list[Fault] = []
    for _, outcome in _outcomes_of(raw, file):
        if isinstance(outcome, ScalingPolicy):
            policies.append(outcome)
        else:
            faults.extend(outcome)
    return Checked(policies=tuple(policies), faults=tuple(faults))


def check_object(value: object, file: str, document: int = 1) -> ScalingPolicy | tuple[Fault, ...]:
    """Read one document that is already parsed, such as an object from the API server."""
    return _outcome(Tree(number=document, value=value, flaws=()), file)


Outcome = ScalingPolicy | tuple[Fault, ...]


def _name(policy: ScalingPolicy) -> str:
    return f"{policy.metadata.namespace}/{policy.metadata.name}"


def _outcomes(path: FilePath | str) -> Iterator[tuple[int | None, Outcome]]:
    """What became of each document of a file, with its number; None for the file as a whole."""
    try:
        with FilePath(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        yield None, _of_file(str(path), "is a directory: name the files in it")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        yield None, _of_file(str(path), f"cannot be read: {reason}")
    else:
        yield from _outcomes_of(raw, str(path))


def _outcomes_of(raw: bytes, file: str) -> Iterator[tuple[int | None, Outcome]]:
    is_empty = True
    try:
        for tree in trees(raw):
            if tree.value is not None or tree.flaws:
                is_empty = False
                yield tree.number, _outcome(tree, file)
    except UnreadableError as error:
        yield None, _of_file(file, str(error))
    else:
        if is_empty:
            yield None, _of_file(file, f"is empty: it must hold at least one {KIND}")


def _of_file(file: str, message: str) -> tuple[Fault]:
    return (Fault(file=file, document=None, field="", value=None, message=message),)


def _fault(flaw: Flaw, file: str, number: int | None) -> Fault:
    value = shown(flaw.value)
    return Fault(file=file, document=number, field=dotted(flaw.at), value=value, message=flaw.message)


def _outcome(tree: Tree, file: str) -> Outcome:
    judged = _judged(tree.value)
    found = tree.flaws if isinstance(judged, ScalingPolicy) else (*tree.flaws, *judged)
    if isinstance(judged, ScalingPolicy) and not found:
        return judged
    faults = [_fault(flaw, file, tree.number) for flaw in found[:MAX_FAULTS]]
    if len(found) > MAX_FAULTS:
        rest = Flaw(at=(), value=None, message=f"has {len(found) - MAX_FAULTS} more faults that are not shown")
        faults.append(_fault(rest, file, tree.number))
    return tuple(faults)


# --- One document ------------------------------------------------------------------------------------------------


def _judged(value: object) -> ScalingPolicy | tuple[Flaw, ...]:
    """The policy that a tree is, or all that is wrong with it."""
    if (stranger := tuple(_strange(value))) or value is REFUSED:
        return stranger
    errors = _errors(value)
    # Without the unknown fields, the rules around them can be judged all the same.
    known = _without(value, {error["loc"] for error in errors if error["type"] == "extra_forbidden"})
    flaws = (*_flaws(errors), *_broken_rules(ScalingPolicy, known, ()))
    # An error without a flaw is one in a value that was refused, and told of, before.
    return flaws if flaws or errors else _validated(ScalingPolicy, known)


def _strange(value: object) -> Iterator[Flaw]:
    """Why a tree is no ScalingPolicy of ours at all; then nothing else is worth saying of it."""
    if value is REFUSED:
        return
    if not isinstance(value, dict):
        yield Flaw(at=(), value=value, message="must be a mapping (field: value)")
        return
    for field, expected in (("kind", KIND), ("apiVersion", API_VERSION)):
        found = value.get(field)
        if found == expected or found is REFUSED:
            continue
        is_kind = field == "kind" and found is not None
        wanted = f"must be {expected}: keep other kinds in files of their own" if is_kind else f"must be {expected}"
        yield Flaw(at=(field,), value=found, message=f"is required, and {wanted}" if found is None else wanted)
        if is_kind:
            return


M = TypeVar("M", bound=BaseModel)


def _validated(model: type[M], value: object) -> M:
    return model.model_validate(value, by_name=False, context=UNJUDGED)


def _errors(value: object) -> list[ErrorDetails]:
    try:
        _validated(ScalingPolicy, value)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _without(value: object, paths: set[Path], at: Path = ()) -> Any:
    """A copy of a tree without what is found at ``paths``."""
    if isinstance(value, dict):
        return {key: _without(part, paths, (*at, key)) for key, part in value.items() if (*at, key) not in paths}
    if isinstance(value, list):
        return [_without(part, paths, (*at, index)) for index, part in enumerate(value)]
    return value


def _flaws(errors: Iterable[ErrorDetails]) -> Iterator[Flaw]:
    for error in errors:
        # Pydantic counts sound entries only: a list of one bad entry is not short of entries.
        is_short = error["type"] == "too_short" and len(error["input"]) < error["ctx"]["min_length"]
        if error["input"] is not REFUSED and (is_short or error["type"] != "too_short"):
            value = None if error["type"] == "missing" else error["input"]
            yield Flaw(at=error["loc"], value=value, message=sentence(error))


def _broken_rules(model: type[BaseModel], value: object, at: Path) -> Iterator[Flaw]:
    """What breaks the rules in a tree, wherever all that a rule may look at is sound."""
    try:
        sound = _validated(model, value)
    except ValidationError:
        for name, part in parts(model).items():
            inner = value.get(name) if isinstance(value, dict) else None
            for place, entry in _entries(inner, (*at, name)):
                yield from _broken_rules(part, entry, place)
    else:
        yield from _breaches(sound, at)


def _breaches(model: BaseModel, at: Path) -> Iterator[Flaw]:
    """The broken rules of a model and of all models in it."""
    for breach in model.breaches() if isinstance(model, Spec) else ():
        yield Flaw(at=(*at, *breach.at), value=breach.value, message=breach.said(dotted(at)))
    for name, field in type(model).model_fields.items():
        for place, entry in _entries(getattr(model, name), (*at, str(field.alias))):
            if isinstance(entry, BaseModel):
                yield from _breaches(entry, place)


def _entries(value: object, at: Path) -> list[tuple[Path, object]]:
    """Each entry of a list with its place; what is no list is its own only entry."""
    return [((*at, i), entry) for i, entry in enumerate(value)] if isinstance(value, list | tuple) else [(at, value)]
