"""Whatever is wrong with a file is said in one line each, with the place, the value and the limit."""

from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from scaler.api import tree as reader
from scaler.api.documents import MAX_FAULTS, check_bytes, check_files, check_object
from scaler.api.rules import UNJUDGED, Spec, parts
from scaler.api.v1alpha1 import ScalingPolicy
from tests.api import bad
from tests.api.builders import ONE_VERSION, TWO_VERSIONS, tree

GOOD: Final = ONE_VERSION.encode()

FILES: Final = {
    "an empty file": (b"", None, "is empty: it must hold at least one ScalingPolicy"),
    "a file of comments": (b"# soon\n---\n# later\n", None, "is empty"),
    "a list": (b"- 1\n", 1, "must be a mapping (field: value)"),
    "a word": (b"replicas\n", 1, "must be a mapping (field: value)"),
    "not UTF-8": (b"kind: \xff\xfe", None, "is not UTF-8: byte 7"),
    "UTF-16": ("kind: ScalingPolicy".encode("utf-16"), None, "is not UTF-8: byte 1"),
    "a NUL": (b"kind: a\nb: \x00", None, "holds the control character U+0000 at line 2, column 4"),
    "an escape sequence": (b"kind: \x1b[31m", None, "holds the control character U+001B at line 1, column 7"),
    "an open bracket": (b"a: 1\nkind: [", None, "is not YAML at line "),
    "a tab for an indent": (b"spec:\n\treplicas: 1", None, "is not YAML at line 2, column 1:"),
    "a huge file": (b"#" * (reader.MAX_BYTES + 1), None, "is larger than 1 MiB: split it"),
    "a tower of brackets": (b"[" * 100_000, None, "is nested more than 32 deep at line 1, column 34: make it flatter"),
    "a tower of keys": (b"{a: " * 50_000, None, "is nested more than 32 deep"),
    "101 documents": (b"---\n" * 101, None, "has more than 100 documents: split it"),
}


@pytest.mark.parametrize("case", bad.ALL, ids=lambda case: str(case.claim))
def test_a_bad_document_has_one_fault_that_names_field_and_limit(case: bad.Bad) -> None:
    faults = check_bytes(case.raw(), file="bad.yaml").faults

    assert [fault.field for fault in faults] == [case.at]
    assert case.says in faults[0].message


@pytest.mark.parametrize(("raw", "document", "says"), FILES.values(), ids=FILES)
def test_a_bad_file_has_one_fault_that_says_what_to_do(raw: bytes, document: int | None, says: str) -> None:
    (fault,) = check_bytes(raw, file="bad.yaml").faults

    assert (fault.document, fault.field) == (document, "")
    assert says in fault.message


def test_the_table_is_long_enough_and_claims_nothing_twice() -> None:
    claims = [case.claim for case in bad.ALL]

    assert len(claims) == len(set(claims)) >= 60


def test_each_rule_is_broken_by_a_case_of_the_table() -> None:
    broken: set[str] = set()
    for case in bad.ALL:
        with suppress(ValidationError):
            broken |= broken_rules(ScalingPolicy.model_validate(case.tree(), by_name=False, context=UNJUDGED))

    assert broken == rule_names(ScalingPolicy)
    assert len(broken) > 20


def broken_rules(value: object) -> set[str]:
    """The names of the rules that a model and those in it break."""
    if isinstance(value, tuple):
        return set().union(*map(broken_rules, value))
    if not isinstance(value, Spec):
        return set()
    own = {f"{type(value).__name__}.{rule.name}" for rule in value.rules() if any(True for _ in rule.breaches(value))}
    return own.union(*(broken_rules(getattr(value, name)) for name in type(value).model_fields))


def rule_names(model: type[BaseModel]) -> set[str]:
    """The names of all rules in a model and in those that it is made of."""
    own = {f"{model.__name__}.{rule.name}" for rule in model.rules()} if issubclass(model, Spec) else set()
    return own.union(*map(rule_names, parts(model).values()))


def test_a_fault_is_one_line_with_place_value_and_limit() -> None:
    raw = yaml.safe_dump(tree(spec__replicas__min=9)).encode()

    (fault,) = check_bytes(raw, file="llama.yaml").faults

    assert str(fault) == "llama.yaml: document 1: spec.replicas.min = 9: must be at most spec.replicas.max (4)"


def test_all_faults_of_a_document_are_said_at_once() -> None:
    raw = yaml.safe_dump(
        tree(
            spec__replicas__min=9,
            spec__repicas=1,
            spec__signals__engine="vllm",
            spec__loading__expectedSeconds=2000,
            spec__warmPool__schedules__0__timeZone="Mars/Olympus",
            spec__release__steps=[{"weightPercent": 50}, {"weightPercent": 20}],
        )
    ).encode()

    assert {fault.field for fault in check_bytes(raw, file="bad.yaml").faults} == {
        "spec.replicas.min",
        "spec.repicas",
        "spec.signals.engine",
        "spec.loading.expectedSeconds",
        "spec.warmPool.schedules[0].timeZone",
        "spec.release.steps[1].weightPercent",
    }


def test_an_unknown_field_does_not_hide_a_broken_rule_beside_it() -> None:
    raw = yaml.safe_dump(tree(spec__replicas={"min": 9, "max": 4, "mix": 2})).encode()

    fields = [fault.field for fault in check_bytes(raw, file="bad.yaml").faults]

    assert fields == ["spec.replicas.mix", "spec.replicas.min"]


def test_each_document_of_a_file_is_judged_for_itself_and_numbered_from_one() -> None:
    other = yaml.safe_dump(tree(kind="Service"))
    broken = yaml.safe_dump(tree(spec__replicas__max=0, metadata__name="other"))

    checked = check_bytes(f"{ONE_VERSION}\n---\n---\n{other}\n---\n{broken}".encode(), file="mixed.yaml")

    assert [policy.metadata.name for policy in checked.policies] == ["llama"]
    assert [(fault.document, fault.field) for fault in checked.faults] == [(3, "kind"), (4, "spec.replicas.max")]


def test_a_document_of_another_kind_says_only_that() -> None:
    service = b"apiVersion: v1\nkind: Service\nspec: {replicas: many}\n"

    assert [str(fault) for fault in check_bytes(service, file="mixed.yaml").faults] == [
        'mixed.yaml: document 1: kind = "Service": must be ScalingPolicy: keep other kinds in files of their own'
    ]


def test_what_stands_before_a_syntax_error_is_still_judged() -> None:
    checked = check_bytes(GOOD + b"\n---\n{", file="cut.yaml")

    assert len(checked.policies) == 1
    assert [fault.document for fault in checked.faults] == [None]


def test_aliases_that_would_explode_are_refused_unread() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )

    faults = check_bytes(bomb.encode(), file="bomb.yaml").faults

    assert faults[0].message == "must not have an anchor (&): aliases to it are not read"
    assert {fault.field for fault in faults} >= {"b[0]", "i[8]", "kind"}


def test_an_alias_is_a_fault_where_it_stands_and_its_absence_is_not_another_one() -> None:
    raw = TWO_VERSIONS.replace("{min: 1, max: 4}", "&bounds {min: 1, max: 4}").replace("{priority: 10}", "*bounds")

    fields = [fault.field for fault in check_bytes(raw.encode(), file="bad.yaml").faults]

    assert fields == ["spec.replicas", "spec.capacity"]


def test_a_key_that_is_there_twice_names_its_first_line() -> None:
    raw = ONE_VERSION.replace("replicas: {max: 4}", "replicas:\n    max: 4\n    max: 5")

    (fault,) = check_bytes(raw.encode(), file="bad.yaml").faults

    assert fault.field == "spec.replicas.max"
    assert fault.message == "is there twice, at first in line 11: remove one"


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!int", "!mine", "!!binary"])
def test_a_tag_is_refused(tag: str) -> None:
    raw = ONE_VERSION.replace("engine: VLLM", f"engine: {tag} VLLM")

    assert [fault.field for fault in check_bytes(raw.encode(), file="bad.yaml").faults] == ["spec.signals.engine"]


@pytest.mark.parametrize("number", ["010", "0x1F", "0b11", "1_000"])
def test_a_number_that_readers_take_differently_is_refused(number: str) -> None:
    (fault,) = check_bytes(ONE_VERSION.replace("max: 4", f"max: {number}").encode(), file="bad.yaml").faults

    assert (fault.field, fault.value) == ("spec.replicas.max", f'"{number}"')
    assert "plain decimal digits" in fault.message


@pytest.mark.parametrize("number", [".nan", ".NaN", ".inf", "-.inf", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    (fault,) = check_bytes(ONE_VERSION.replace("max: 4", f"max: {number}").encode(), file="bad.yaml").faults

    assert (fault.field, fault.message) == ("spec.replicas.max", "must be a finite number")


def test_a_mapping_for_a_key_is_refused() -> None:
    (fault, *_) = check_bytes(b"? {a: 1}\n: 2\n", file="bad.yaml").faults

    assert fault.message == "must have text for the name of a field at line 1, column 3"


def test_a_document_with_thousands_of_faults_tells_a_hundred_and_counts_the_rest() -> None:
    raw = ONE_VERSION + "".join(f"  f{i}: 1\n" for i in range(2000))

    faults = check_bytes(raw.encode(), file="bad.yaml").faults

    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1].message == "has 1900 more faults that are not shown"


def test_a_fault_is_one_printable_line_whatever_it_speaks_of() -> None:
    raw = '"ki\\nnd\\u202e": 1\nkind: "a\\e[31m\\n' + "x" * 500 + '"\n'

    lines = [str(fault) for fault in check_bytes(raw.encode(), file="a\nb.yaml").faults]

    assert all(line.isprintable() and len(line) < 300 for line in lines)


def test_unreadable_paths_are_faults_that_say_what_to_do(tmp_path: Path) -> None:
    lines = [str(fault) for fault in check_files([tmp_path, tmp_path / "none.yaml", "a\0b"]).faults]

    assert lines == [
        f"{tmp_path}: is a directory: name the files in it",
        f"{tmp_path}/none.yaml: cannot be read: No such file or directory",
        "a\\u0000b: cannot be read: embedded null byte",
    ]


def test_one_policy_in_two_files_is_a_fault_of_the_second(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_bytes(GOOD)
    second.write_bytes(GOOD)

    checked = check_files([first, second])

    assert len(checked.policies) == 1
    assert [str(fault) for fault in checked.faults] == [
        f'{second}: document 1: metadata.name = "models/llama": is in {first}, document 1 too: remove or rename one'
    ]


def test_a_file_far_too_large_is_not_read_to_its_end() -> None:
    (fault,) = check_files(["/dev/zero"]).faults

    assert fault.message == "is larger than 1 MiB: split it into several files"


ODD_VALUES: Final[tuple[object, ...]] = (
    None,
    True,
    0,
    -1,
    10**30,
    0.5,
    "",
    " ",
    "x" * 5000,
    "é",
    [],
    [1],
    ["a", "a"],
    [[]],
    {},
    {"a": {}},
)


@pytest.mark.parametrize("odd", ODD_VALUES, ids=lambda odd: repr(odd)[:20])
def test_an_odd_value_at_any_place_is_read_or_refused_in_words(odd: object) -> None:
    outcomes = [check_object(changed, file="odd.yaml") for changed in _with_each_place_as(tree(), odd)]

    refused = [str(fault) for outcome in outcomes if isinstance(outcome, tuple) for fault in outcome]
    assert len(outcomes) > 80
    assert not [line for line in refused if "Input should" in line or "pydantic" in line.lower()]


def _with_each_place_as(value: object, odd: object) -> list[object]:
    """``value`` with one of its parts at a time replaced by ``odd``."""
    if isinstance(value, dict):
        inner = [(key, part) for key, old in value.items() for part in _with_each_place_as(old, odd)]
        return [odd, *({**value, key: part} for key, part in inner)]
    if isinstance(value, list):
        places = [(index, part) for index, old in enumerate(value) for part in _with_each_place_as(old, odd)]
        return [odd, *([*value[:index], part, *value[index + 1 :]] for index, part in places)]
    return [odd]
