"""What the schema can refuse, a real API server refuses, and says which field is wrong."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from testbed.rest import RefusedError
from testbed.tenant import Tenant
from tests.api import bad
from tests.api.builders import ONE_VERSION, TWO_VERSIONS
from tests.cluster.running import POLICIES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kubeconfig")]

EXAMPLES: Final = sorted((Path(__file__).parents[2] / "deploy" / "examples").glob("*.yaml"))

AS_KUBECTL_DOES: Final = "?dryRun=All&fieldValidation=Strict"

BEFORE_THE_SCHEMA: Final = {
    "a version we do not know": 'ScalingPolicy in version "v1" cannot be handled',
    "no apiVersion": "the API version in the data () does not match",
    "a namespace with a dot": 'namespaces "a.b" not found',
    "a label that is a number": "ObjectMeta.labels of type string",
    "percentile NaN": "json parse error",
    "percentile infinity": "json parse error",
}
"""What fails before our schema is asked, in the API server's own words for it."""


def refusal(tenant: Tenant, document: dict[str, Any]) -> str | None:
    """What the API server has against the document, None if it would store it; nothing is stored."""
    metadata = document.get("metadata") or {}
    if metadata.get("namespace") == "models":
        metadata["namespace"] = tenant.namespace
    namespace = metadata.get("namespace", tenant.namespace)
    try:
        tenant.api.create(f"/apis/{POLICIES}/namespaces/{namespace}/scalingpolicies{AS_KUBECTL_DOES}", document)
    except RefusedError as error:
        return error.message
    return None


def does_name(message: str, field: str) -> bool:
    """Whether the message has the field's path or, for a rule between entries, their list's path and its name."""
    if field in message:
        return True
    around = re.match(r"([\w.]+)\[", field)
    if around is None:
        return False
    _, found, said = message.partition(around[1])
    return bool(found) and any(name in said for name in field.rsplit(".", 2)[1:])


def test_every_bad_document_is_refused_by_the_name_of_its_field_but_for_what_only_we_can_know(tenant: Tenant) -> None:
    told = {case.claim: refusal(tenant, case.tree()) for case in bad.ALL}

    accepted = {claim for claim, message in told.items() if message is None}
    silent = [
        f"{case.claim}: {message} (should name {case.at})"
        for case in bad.ALL
        if (message := told[case.claim]) is not None
        and case.claim not in BEFORE_THE_SCHEMA
        and not does_name(message, case.at)
    ]
    assert accepted == {case.claim for case in bad.ALL if case.edge_only}
    assert not silent, "\n".join(silent)
    assert not [claim for claim, words in BEFORE_THE_SCHEMA.items() if words not in (told[claim] or "")]


@pytest.mark.parametrize("text", [ONE_VERSION, TWO_VERSIONS], ids=["the least", "every field"])
def test_a_good_document_is_accepted(tenant: Tenant, text: str) -> None:
    assert refusal(tenant, yaml.safe_load(text)) is None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.stem))
def test_a_shipped_example_is_accepted(tenant: Tenant, path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["metadata"]["namespace"] = tenant.namespace

    assert refusal(tenant, document) is None
