"""The CustomResourceDefinition of ScalingPolicy, made from its models: ``python -m scaler.api.crd PATH`` writes it.

It turns JSON schema into what the API server calls a structural schema: one type at each place, no references, no
null. It adds nothing of its own but names and columns; limits, defaults and rules are the models'.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from scaler.api.status import Status
from scaler.api.v1alpha1 import GROUP, KIND, VERSION, ScalingPolicy, ScalingPolicySpec

Schema = dict[str, Any]

PLURAL: Final = "scalingpolicies"
HEADER: Final = "# Generated from scaler/api by `make crd`. Do not edit: a test compares it with its source.\n"
NOT_STRUCTURAL: Final = frozenset({"$defs", "$ref", "anyOf", "title", "additionalProperties"})
ORDER: Final = {"description": 0, "type": 1, "default": 2}
BOUNDS: Final = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def crd_text() -> str:
    """The whole definition as YAML."""
    # JSON in between parts what the models share, so that YAML has no anchors to make of it.
    plain = json.loads(json.dumps(definition()))
    return HEADER + yaml.safe_dump(plain, sort_keys=False, width=120, allow_unicode=True)


def definition() -> Schema:
    """The definition as the object that the API server takes."""
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": ["fsp"],
        "categories": ["forebay"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [_version()]},
    }


def _version() -> Schema:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            _column("Desired", ".status.desired", "integer"),
            _column("Actual", ".status.actual", "integer"),
            _column("Weight", ".status.weights"),
            _column("Age", ".metadata.creationTimestamp", "date"),
        ],
        "schema": {"openAPIV3Schema": _root()},
    }


def _column(name: str, path: str, kind: str = "string") -> Schema:
    return {"name": name, "type": kind, "jsonPath": path}


def _root() -> Schema:
    return {
        "description": ScalingPolicy.__doc__,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "metadata": {"type": "object"},
            "spec": structural(ScalingPolicySpec.model_json_schema()),
            "status": structural(Status.model_json_schema()),
        },
    }


def structural(schema: Schema) -> Schema:
    """``schema``, which has its own ``$defs``, as a structural schema."""
    return _resolved(schema, schema.get("$defs", {}))


def _resolved(schema: Schema, defs: dict[str, Schema]) -> Schema:
    """``schema`` with what it refers to in its place; its own words win over those of what it refers to."""
    plain: Schema = {}
    for reference in _referred(schema, defs):
        plain |= _resolved(reference, defs)
    plain |= {key: value for key, value in schema.items() if key not in NOT_STRUCTURAL}
    for name, bound in BOUNDS.items():
        if name in schema:
            plain |= {bound: schema[name], name: True}  # a number in JSON schema, a flag here
    if plain.get("default", ...) is None:
        del plain["default"]
    if "properties" in schema:
        plain["properties"] = _properties(schema, defs)
    if "items" in schema:
        plain["items"] = _resolved(schema["items"], defs)
    return {key: plain[key] for key in sorted(plain, key=lambda key: ORDER.get(key, len(ORDER)))}


def _referred(schema: Schema, defs: dict[str, Schema]) -> list[Schema]:
    """What stands behind ``schema``: the target of a reference, and the one alternative to null."""
    named = [defs[schema["$ref"].rsplit("/", maxsplit=1)[1]]] if "$ref" in schema else []
    return named + [option for option in schema.get("anyOf", []) if option != {"type": "null"}]


def _properties(schema: Schema, defs: dict[str, Schema]) -> Schema:
    required = schema.get("required", ())
    fields = {name: _resolved(part, defs) for name, part in schema["properties"].items()}
    for name, part in fields.items():
        # An object that may be left out, yet is never null, is made of its own fields' defaults. They are written
        # out, because the API server judges a default by the rules before it fills in those of its fields.
        if part["type"] == "object" and name not in required and "anyOf" not in schema["properties"][name]:
            part["default"] = {inner: own["default"] for inner, own in part["properties"].items() if "default" in own}
    return fields


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(crd_text(), encoding="utf-8")
