"""What deploy/examples/vllm tells users holds together, and the node agent can run it."""

from pathlib import Path
from typing import Any, Final

import yaml

from scaler.api.documents import check_files
from scaler.api.policy import policy_of
from testbed.node_agent.workload import Kind, workload_of

EXAMPLE: Final = Path(__file__).parents[2] / "deploy" / "examples" / "vllm"
VLLM_ENDS_WITHIN_S: Final = 50.0
"""From vLLM's last request to its end: seen up to 24 s, on a busy machine."""


def deployment() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((EXAMPLE / "deployment.yaml").read_text(encoding="utf-8")))
    found: dict[str, Any] = next(each for each in documents if each["kind"] == "Deployment")
    return found


def pod() -> dict[str, Any]:
    template: dict[str, Any] = deployment()["spec"]["template"]
    return template | {"metadata": {**template["metadata"], "name": "llama-1", "namespace": "models", "uid": "one"}}


def test_the_policy_is_sound() -> None:
    checked = check_files([EXAMPLE / "policy.yaml"])

    assert checked.faults == ()
    assert len(checked.policies) == 1


def test_the_grace_period_covers_the_hook_and_vllms_own_drain_and_its_end() -> None:
    workload = workload_of(pod(), "10.244.200.2")

    (drain_s,) = [float(word.partition("=")[2]) for word in workload.command if word.startswith("--shutdown-timeout=")]
    assert workload.pre_stop is not None
    assert workload.pre_stop.sleep_s is not None
    assert workload.grace_s >= workload.pre_stop.sleep_s + drain_s + VLLM_ENDS_WITHIN_S


def test_a_long_load_is_never_taken_for_a_failure() -> None:
    startup = workload_of(pod(), "10.244.200.2").probes[Kind.STARTUP]
    checked = check_files([EXAMPLE / "policy.yaml"])
    (policy,) = checked.policies

    assert startup.period_s * startup.failures_allowed >= policy_of(policy, at_s=0.0).loading.budget_s


def test_the_policy_the_route_and_the_service_speak_of_the_same_deployment() -> None:
    documents = [
        each for path in sorted(EXAMPLE.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    by_kind = {each["kind"]: each for each in documents}
    name = by_kind["Deployment"]["metadata"]["name"]

    (version,) = by_kind["ScalingPolicy"]["spec"]["versions"]
    assert version["targets"][0]["targetRef"]["name"] == name
    assert by_kind["HTTPRoute"]["spec"]["rules"][0]["backendRefs"] == [
        {"name": by_kind["Service"]["metadata"]["name"], "port": by_kind["Service"]["spec"]["ports"][0]["port"]}
    ]
    assert by_kind["Service"]["spec"]["selector"] == by_kind["Deployment"]["spec"]["selector"]["matchLabels"]
    words = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--served-model-name={by_kind['ScalingPolicy']['spec']['signals']['modelName']}" in words
    assert {each["metadata"]["namespace"] for each in documents} == {"models"}
