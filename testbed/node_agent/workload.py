"""What of a pod's spec the node agent runs, with the API's own defaults; what it cannot run it refuses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
"""What Kubernetes replaces in commands, arguments and the environment: $(NAME), and $$ for a dollar sign."""


class NotRunnableError(ValueError):
    """The pod asks for something that this agent does not know; the message says what."""


class Kind(Enum):
    """The three questions that a probe may ask, by their names in the API."""

    STARTUP = "startupProbe"
    READINESS = "readinessProbe"
    LIVENESS = "livenessProbe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP GET to the pod's own address."""

    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An HTTP probe; the times are seconds, the thresholds answers in a row."""

    request: Request
    initial_delay_s: float
    period_s: float
    timeout_s: float
    successes_needed: int
    failures_allowed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """What is done before the process is told to end: one of the three."""

    sleep_s: float | None = None
    command: tuple[str, ...] | None = None
    request: Request | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pod with one container, as far as it is run."""

    container: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    probes: Mapping[Kind, Probe]
    pre_stop: Hook | None
    grace_s: float


def workload_of(pod: Mapping[str, Any], address: str) -> Workload:
    """What is to be run for a pod that has ``address``. Raises NotRunnableError."""
    spec = pod["spec"]
    name = pod["metadata"]["name"]
    containers = spec["containers"]
    if len(containers) != 1 or spec.get("initContainers"):
        raise NotRunnableError(f"pod {name}: must have one container and no init containers, for no more is run")
    (container,) = containers
    environment = environment_of(container, pod, address)
    words = (*container.get("command", ()), *container.get("args", ()))
    if not container.get("command"):
        raise NotRunnableError(f"pod {name}: must have a command, for there is no image whose own could be run")
    return Workload(
        container=container["name"],
        image=container["image"],
        command=tuple(expanded(word, environment) for word in words),
        environment=environment,
        probes={kind: probe_of(container[kind.value], container) for kind in Kind if kind.value in container},
        pre_stop=hook_of(container),
        grace_s=float(spec.get("terminationGracePeriodSeconds", 30)),
    )


def environment_of(container: Mapping[str, Any], pod: Mapping[str, Any], address: str) -> dict[str, str]:
    """The container's own variables; one may speak of those before it, and of the pod."""
    fields = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "status.podIP": address,
    }
    found: dict[str, str] = {}
    for variable in container.get("env", ()):
        path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        if "valueFrom" in variable and path not in fields:
            raise NotRunnableError(f"variable {variable['name']}: only a fieldRef to {', '.join(fields)} is known")
        found[variable["name"]] = fields[path] if path else expanded(variable.get("value", ""), found)
    return found


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """``text`` with its references to variables replaced; an unknown one stays as it is, as in Kubernetes."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else environment.get(found[1], found[0])

    return REFERENCE.sub(value, text)


def probe_of(given: Mapping[str, Any], container: Mapping[str, Any]) -> Probe:
    """A probe with the API server's defaults. Raises NotRunnableError of one that is not an HTTP GET."""
    if "httpGet" not in given:
        raise NotRunnableError(f"container {container['name']}: its probes must be httpGet, and one is {sorted(given)}")
    return Probe(
        request=request_of(given["httpGet"], container),
        initial_delay_s=given.get("initialDelaySeconds", 0),
        period_s=given.get("periodSeconds", 10),
        timeout_s=given.get("timeoutSeconds", 1),
        successes_needed=given.get("successThreshold", 1),
        failures_allowed=given.get("failureThreshold", 3),
    )


def request_of(given: Mapping[str, Any], container: Mapping[str, Any]) -> Request:
    """A GET whose port may be the name of one of the container's."""
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", ()) if "name" in port}
    port = given["port"]
    if isinstance(port, str) and port not in ports:
        raise NotRunnableError(f"container {container['name']}: it has no port {port!r}")
    return Request(port=ports[port] if isinstance(port, str) else port, path=given.get("path", "/"))


def hook_of(container: Mapping[str, Any]) -> Hook | None:
    """The preStop hook, None where there is none."""
    given = container.get("lifecycle", {}).get("preStop")
    if given is None:
        return None
    if "sleep" in given:
        return Hook(sleep_s=given["sleep"]["seconds"])
    if "exec" in given:
        return Hook(command=tuple(given["exec"]["command"]))
    if "httpGet" in given:
        return Hook(request=request_of(given["httpGet"], container))
    raise NotRunnableError(f"container {container['name']}: its preStop must be sleep, exec or httpGet")
