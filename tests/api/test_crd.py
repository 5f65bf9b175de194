"""The shipped CRD is what the models say, and what an API server takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import BaseModel

from scaler.api import crd
from scaler.api.rules import Rule, Spec, parts
from scaler.api.v1alpha1 import ScalingPolicySpec
from tests.api import bad
from tests.api.builders import tree

SHIPPED: Final = Path(__file__).parents[2] / "deploy" / "crd" / "forebay.dev_scalingpolicies.yaml"
FORBIDDEN: Final = {
    "$ref",
    "$defs",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "title",
    "additionalProperties",
    "const",
    "examples",
}
VERSION: Final[dict[str, Any]] = crd.definition()["spec"]["versions"][0]
ROOT: Final[dict[str, Any]] = VERSION["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in ``schema`` with its place."""
    yield at, schema
    for name, part in schema.get("properties", {}).items():
        yield from nodes(part, f"{at}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{at}[]")


def flaws(schema: dict[str, Any]) -> list[str]:
    """What an API server, or its price for rules, would not take."""
    return [f"{at}: {flaw}" for at, node in nodes(schema) for flaw in _flaws(node) if at != ".metadata"]


def _flaws(node: dict[str, Any]) -> Iterator[str]:
    yield from FORBIDDEN & node.keys()
    kind = node.get("type")
    if kind not in {"object", "array", "string", "integer", "number", "boolean"}:
        yield f"has the type {kind}"
    if kind == "string" and not node.keys() & {"maxLength", "enum"}:
        yield "has no maxLength"
    if kind == "array" and not node.keys() >= {"maxItems", "items", "x-kubernetes-list-type"}:
        yield "has no maxItems or list type"
    if kind == "object" and "properties" not in node and "maxProperties" not in node:
        yield "has no maxProperties"
    if kind in {"integer", "number"} and not node.keys() >= {"minimum", "maximum"}:
        yield "has no bounds"
    if "description" not in node and kind != "string":
        yield "has no description"
    if node.get("default", "") is None or None in node.get("enum", ()):
        yield "may be null"


def test_the_shipped_file_is_not_stale() -> None:
    assert SHIPPED.read_text(encoding="utf-8") == crd.crd_text(), "run `make crd`"


def test_the_text_is_the_definition() -> None:
    assert yaml.safe_load(crd.crd_text()) == yaml.safe_load(yaml.safe_dump(crd.definition()))


def test_the_schema_is_structural_and_bounded() -> None:
    assert flaws(ROOT) == []
    assert len(list(nodes(ROOT))) > 100


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/x", "type": "object", "properties": {}},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "", "maxLength": 1},
        {"type": "string"},
        {"type": "array", "items": {"type": "string", "maxLength": 1}, "description": ""},
        {"type": "object", "description": ""},
        {"type": "integer", "minimum": 0, "description": ""},
    ],
)
def test_the_checker_finds_what_is_not(schema: dict[str, Any]) -> None:
    assert flaws(schema)


def test_the_list_keys_are_required_or_have_defaults() -> None:
    for at, node in nodes(ROOT):
        for key in node.get("x-kubernetes-list-map-keys", ()):
            entry = node["items"]
            assert key in entry.get("required", ()) or "default" in entry["properties"][key], at


def rules(model: type[BaseModel]) -> list[Rule]:
    """The rules of a model and of all in it."""
    own = list(model.rules()) if issubclass(model, Spec) else []
    return own + [rule for part in parts(model).values() for rule in rules(part)]


def test_each_rule_is_in_the_schema_once_with_its_message() -> None:
    declared = sorted((rule.cel or "", rule.says, f".{rule.at}") for rule in rules(ScalingPolicySpec) if rule.cel)
    generated = sorted(
        (entry["rule"], entry["message"], entry["fieldPath"])
        for _, node in nodes(ROOT)
        for entry in node.get("x-kubernetes-validations", ())
    )

    assert generated == declared
    assert len(generated) >= 18


def test_a_rule_points_at_a_field_that_exists() -> None:
    for at, node in nodes(ROOT):
        for entry in node.get("x-kubernetes-validations", ()):
            place = node
            for part in entry["fieldPath"].lstrip(".").split("."):
                assert part in place["properties"], f"{at}: {entry['fieldPath']}"
                place = place["properties"][part]


def test_a_rule_without_cel_says_who_keeps_it_instead() -> None:
    silent = [
        rule.name
        for rule in rules(ScalingPolicySpec)
        if not rule.cel and "API server" not in (rule.breaches.__doc__ or "")
    ]

    assert silent == []


def test_every_default_passes_its_own_schema_and_none_is_half() -> None:
    """The API server judges a default before it fills in the defaults of its fields, so it must be whole."""
    for at, node in nodes(ROOT):
        if node["type"] == "object" and "default" in node:
            expected = {name: part["default"] for name, part in node["properties"].items() if "default" in part}
            assert node["default"] == expected, at


def test_the_columns_conditions_and_subresource_are_there() -> None:
    assert [column["name"] for column in VERSION["additionalPrinterColumns"]] == [
        "Ready",
        "Desired",
        "Actual",
        "Weight",
        "Age",
    ]
    assert VERSION["subresources"] == {"status": {}}
    assert crd.definition()["spec"]["names"]["shortNames"] == ["fsp"]


def test_each_field_that_the_full_example_uses_is_in_the_schema() -> None:
    def known(value: object, schema: dict[str, Any]) -> bool:
        if isinstance(value, dict):
            return all(
                name in schema["properties"] and known(part, schema["properties"][name]) for name, part in value.items()
            )
        return all(known(part, schema["items"]) for part in value) if isinstance(value, list) else True

    assert known(tree()["spec"], ROOT["properties"]["spec"])


def test_bounds_that_a_bad_document_breaks_are_in_the_schema_too() -> None:
    spec = ROOT["properties"]["spec"]["properties"]

    assert spec["replicas"]["properties"]["max"]["maximum"] == 10_000
    assert spec["versions"]["maxItems"] == 8
    assert spec["objectives"]["properties"]["timeToFirstToken"]["properties"]["percentile"] == {
        "description": "The per cent of requests that keep it.",
        "type": "number",
        "default": 95.0,
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": 100,
        "exclusiveMaximum": True,
    }
    assert {case.claim for case in bad.ALL if case.edge_only} == {
        "a city with no time zone",
        "a continent for a time zone",
    }
