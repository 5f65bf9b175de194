"""What deploy/base says agrees with what the controller does."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from scaler.api.keda import SCALER_ADDRESS
from scaler.settings import Settings, settings_from

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
BASE: Final = DEPLOY / "base"


def documents(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((BASE / name).read_text(encoding="utf-8")) if each is not None]


def one(kind: str) -> dict[str, Any]:
    found = [each for path in BASE.glob("*.yaml") for each in documents(path.name) if each.get("kind") == kind]
    assert len(found) == 1, kind
    return found[0]


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = one("Deployment")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    assert isinstance(only, dict)
    return only


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as the container's words, environment and file say, with the file where it is in the tree."""
    for each in container()["env"]:
        monkeypatch.setenv(each["name"], f"<{each['valueFrom']['fieldRef']['fieldPath']}>")
    command, *words = container()["args"]
    assert command == "run"
    return settings_from([word.replace("/etc/forebay", str(BASE)) for word in words])


def test_the_container_gives_settings_that_there_are(settings: Settings) -> None:
    assert settings.identity == "<metadata.name>"
    assert settings.lease_namespace == "<metadata.namespace>"
    assert settings.prometheus_urls == ["http://prometheus.monitoring:9090"]


def services() -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each["spec"] for each in documents("service.yaml")}


def test_probes_services_and_policy_point_at_the_ports_that_are_listened_on(settings: Settings) -> None:
    pages, answers = container()["ports"]
    probes = [container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    ((read,), (asked,)) = services()["forebay-metrics"]["ports"], services()["forebay-scaler"]["ports"]
    ((for_readers,), (for_keda,)) = (each["ports"] for each in one("NetworkPolicy")["spec"]["ingress"])

    assert pages["containerPort"] == read["port"] == settings.listen_on
    assert {probe["port"] for probe in probes} | {read["targetPort"], for_readers["port"]} == {pages["name"]}
    assert answers["containerPort"] == asked["port"] == settings.keda_listen_on
    assert {asked["targetPort"], for_keda["port"]} == {answers["name"]}
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]


def test_the_journal_is_kept_where_it_may_be_written_and_has_room(settings: Settings) -> None:
    (mount,) = [each for each in container()["volumeMounts"] if not each.get("readOnly")]
    (volume,) = [each for each in pod()["volumes"] if each["name"] == mount["name"]]

    assert Path(mount["mountPath"]) in settings.journal.parents
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
    assert volume["emptyDir"]["sizeLimit"] == "1Gi"
    assert settings.journal_most_mib * (settings.journal_kept + 1) < 1024


def test_the_lease_that_is_asked_for_is_the_one_that_may_be_written(settings: Settings) -> None:
    (role,) = [each for each in documents("rbac.yaml") if each["kind"] == "Role"]
    named = [rule for rule in role["rules"] if "resourceNames" in rule]

    assert [rule["resourceNames"] for rule in named] == [[settings.lease_name]]


def test_all_that_selects_pods_selects_these() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]

    assert one("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert [service["selector"] for service in services().values()] == [labels, labels]
    assert pod()["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] == labels


def test_keda_finds_every_replica_where_a_policy_says_by_default() -> None:
    host, _, port = SCALER_ADDRESS.partition(":")
    (served,) = services()[host.split(".")[0]]["ports"]

    assert host.split(".")[1] == one("Deployment")["metadata"]["namespace"]
    assert int(port) == served["port"]
    assert services()["forebay-scaler"]["clusterIP"] == "None"


def test_every_file_of_the_base_is_in_it_and_the_kind_too() -> None:
    base = one("Kustomization")
    listed = {*base["resources"], *base["configMapGenerator"][0]["files"], "kustomization.yaml"}
    (kind,) = yaml.safe_load((DEPLOY / "crd" / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]

    assert listed - {"../crd"} == {path.name for path in BASE.iterdir()}
    assert yaml.safe_load((DEPLOY / "crd" / kind).read_text(encoding="utf-8"))["kind"] == "CustomResourceDefinition"


def test_the_settings_of_the_overlay_are_settings_that_there_are() -> None:
    given = settings_from(["--config", str(DEPLOY / "examples" / "overlay" / "settings.yaml")])

    assert given.advise_only
