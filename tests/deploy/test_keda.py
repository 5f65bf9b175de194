"""What is shipped for KEDA: the example is what the command prints, and the rights are those that are used."""

from pathlib import Path
from typing import Any, Final

import yaml

from scaler.api.documents import check_files
from scaler.wiring.keda import Asked, printed

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
EXAMPLE: Final = DEPLOY / "examples" / "keda"
MANAGED: Final = DEPLOY / "components" / "keda-managed"


def verbs(path: Path, resource: str) -> set[str]:
    """What the ClusterRoles of a file allow with a resource."""
    rules = [
        rule
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if each["kind"] == "ClusterRole"
        for rule in each["rules"]
    ]
    return {verb for rule in rules if resource in rule["resources"] for verb in rule["verbs"]}


def test_the_example_is_what_the_command_prints() -> None:
    shipped = (EXAMPLE / "scaled-object.yaml").read_text(encoding="utf-8")

    assert shipped == printed(Asked(file=EXAMPLE / "policy.yaml")), "run `forebay keda`"


def test_the_authentication_that_the_example_names_is_beside_it() -> None:
    authentication: dict[str, Any] = yaml.safe_load((EXAMPLE / "trigger-authentication.yaml").read_text())
    (policy,) = check_files([EXAMPLE / "policy.yaml"]).policies

    assert policy.spec.keda is not None
    assert policy.spec.keda.tls is not None
    assert policy.spec.keda.tls.authentication_ref is not None
    assert policy.spec.keda.tls.authentication_ref.name == authentication["metadata"]["name"]
    assert policy.metadata.namespace == authentication["metadata"]["namespace"]


def test_scaled_objects_may_be_read_by_all_and_written_by_who_asks_for_it() -> None:
    assert verbs(DEPLOY / "base" / "rbac.yaml", "scaledobjects") == {"list", "watch"}
    assert verbs(MANAGED / "rbac.yaml", "scaledobjects") == {"create", "patch", "delete"}


def test_every_file_of_the_component_is_in_it() -> None:
    component = yaml.safe_load((MANAGED / "kustomization.yaml").read_text(encoding="utf-8"))

    assert {*component["resources"], "kustomization.yaml"} == {path.name for path in MANAGED.iterdir()}
