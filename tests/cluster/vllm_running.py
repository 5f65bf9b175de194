"""Real vLLM behind a real gateway on the testbed, as deploy/examples/vllm has it, and what was seen of a run of it."""

import http.client
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from scaler.adapters.engines import VLLM, Choice, Kind, Signal
from scaler.adapters.kubernetes.times import seconds
from testbed.commands import CommandError
from testbed.control_plane import ControlPlane
from testbed.dev import admitted
from testbed.gateway.traefik import ensure_crds, ensure_traefik, installed_crds, running_traefik
from testbed.node_agent.agent import NodeAgent, running_node
from testbed.objects import condition_of, is_true
from testbed.rest import Patch
from testbed.tenant import Tenant, tenant_of
from testbed.vllm.environment import NoEnvironmentError, ensure_vllm
from testbed.vllm.load import Load, Stream, loading
from testbed.vllm.model import write_model
from testbed.waiting import wait_for
from tests.cluster.running import Controller, World, asked, controlling

EXAMPLE: Final = Path(__file__).parents[2] / "deploy" / "examples" / "vllm"
MODEL: Final = "llama-3.1-8b"
STEP_S: Final = 0.04
SEQUENCES: Final = 8
"""What one replica works on at a time; the next ones wait. Its cache has 20 blocks of 128 tokens."""

ENGINE_WORDS: Final = (
    "--dtype=float32",
    "--enforce-eager",
    "--distributed-executor-backend=uni",
    "--max-model-len=512",
    f"--max-num-seqs={SEQUENCES}",
    "--num-gpu-blocks-override=20",
    "--disable-uvicorn-access-log",
    "--host=$(POD_IP)",
)
ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # all replicas would have the first core to themselves, together
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a worker process for each engine would import everything once more
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # /sleep and /wake_up
}
HOLD_S: Final = 30
SHRINK_EVERY_S: Final = 60
MANY: Final = 18
"""Clients that are more than two replicas work on at a time, and less than three do."""

FEW: Final = 4
"""Two for each of two replicas, or the one that goes might have no stream at that moment."""

LAST: Final = 3
"""Four keep up to 0.62 of one replica busy, and 0.16 must be idle. A shrink leaves up to 1.25 * 1.3 times the work, for
growth and noise, so at 0.62 two stay. Three are 0.47, and of two replicas that take turns each has one of them."""

USUAL: Final = 100
LONG: Final = 370
"""Tokens that take longer than preStop lasts, with which the context is nearly full.

A few such clients need two replicas once that is learned. Three keep 0.63 of one busy, since five of their answers fill
a cache, and each takes 3.5 replica-seconds, for which 0.7 must be idle to be in time (core/wish.py). With usual answers
one is enough.
"""

SCRAPE_S: Final = 1
START_WITHIN_S: Final = 900.0
"""Two replicas that start at once take a minute on two idle cores, and ten on busy ones."""

SETTLES_WITHIN_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Programs:
    """What the run needs beside the control plane."""

    vllm: Path
    traefik: Path
    crds: Path


def programs() -> Programs | str:
    """The programs, built or installed first where they are not cached; or why there are none."""
    try:
        return Programs(ensure_vllm(), ensure_traefik(), ensure_crds())
    except (NoEnvironmentError, CommandError) as error:
        return f"real vLLM cannot run here: {error}"


# --- What is seen ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A replica's start as its pod's conditions have it, in seconds since 1970."""

    name: str
    created_at_s: float
    ready_at_s: float

    @property
    def took_s(self) -> float:
        """From created to ready."""
        return self.ready_at_s - self.created_at_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One thing as the engine says it and as the client saw it; ``within`` is where the two had to meet."""

    what: str
    engine: float
    client: float
    within: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether they meet."""
        return self.within[0] <= self.engine <= self.within[1]


@dataclass(slots=True, kw_only=True)
class Run:
    """What was seen of one run from one replica to three and back. Times are seconds since 1970."""

    present: Mapping[Signal, float] = field(default_factory=dict)
    agreements: list[Agreement] = field(default_factory=list)
    starts: dict[str, Start] = field(default_factory=dict)
    learned: Mapping[str, Any] = field(default_factory=dict)
    rose_at_s: float = 0.0
    grown_at_s: float = 0.0
    fell_at_s: float = 0.0
    back_at_s: float = 0.0
    in_flight_at_the_end: dict[str, float] = field(default_factory=dict)
    asleep: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)


# --- The stage ---------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Scene:
    """The cluster with its one Deployment of vLLM, the gateway, and clients that go through it."""

    tenant: Tenant
    world: World
    load: Load
    run: Run

    def look(self) -> list[dict[str, Any]]:
        """The pods; the starts among them are noted, for a pod that is gone tells nothing."""
        pods = self.tenant.pods()
        for pod in pods:
            ready = condition_of(pod, "Ready")
            name = pod["metadata"]["name"]
            if ready.get("status") == "True" and name not in self.run.starts:
                created_at_s = seconds(pod["metadata"]["creationTimestamp"]) or 0.0
                ready_at_s = seconds(ready["lastTransitionTime"]) or 0.0
                self.run.starts[name] = Start(name=name, created_at_s=created_at_s, ready_at_s=ready_at_s)
            if "deletionTimestamp" in pod["metadata"] and name not in self.run.in_flight_at_the_end:
                self.run.in_flight_at_the_end[name] = self.in_flight_when_deleted(pod)
        return pods

    def ready_pods(self) -> list[dict[str, Any]]:
        """The pods that are ready and not on their way out."""
        return [pod for pod in self.look() if is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]]

    def wait_for(self, what: str, holds: Callable[[], bool], *, within_s: float) -> None:
        """Return once ``holds``; the pods are looked at meanwhile."""

        def looked() -> bool:
            self.look()
            return holds()

        wait_for(what, looked, within_s=within_s, every_s=0.2)

    def ask(self, query: str) -> float:
        """The one number that Prometheus answers; NaN where there is none."""
        found = asked(query)
        return float(found[0]["value"][1]) if found else math.nan

    def in_flight_when_deleted(self, pod: dict[str, Any]) -> float:
        """The most requests that a pod ran within a second of its deletion, of which whole seconds are known."""
        metadata = pod["metadata"]
        deleted_at_s = (seconds(metadata["deletionTimestamp"]) or 0.0) - metadata["deletionGracePeriodSeconds"]
        running = f'vllm:num_requests_running{{pod="{metadata["name"]}"}}'
        return self.ask(f"max(max_over_time({running}[2s] @ {deleted_at_s + 1.0:.0f}))")

    def work(self) -> list[float]:
        """The requests that the engines run, and those that wait."""
        return [self.ask("sum(vllm:num_requests_running)"), self.ask("sum(vllm:num_requests_waiting)")]

    def told(self, choice: Choice) -> float:
        """How many series there are of a signal's metrics, all of which must be there."""
        return min(self.ask(f"count({series(each.name, each.kind, dict(each.labels))})") for each in choice)


def series(name: str, kind: Kind, labels: Mapping[str, str]) -> str:
    """A selector of the metric's series; of a histogram, of its buckets."""
    suffix = "_bucket" if kind is Kind.HISTOGRAM else ""
    chosen = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{suffix}{{{chosen}}}"


def example(name: str, namespace: str) -> list[dict[str, Any]]:
    """The documents of an example, in another namespace."""
    documents = list(yaml.safe_load_all((EXAMPLE / name).read_text(encoding="utf-8")))
    for document in documents:
        document["metadata"]["namespace"] = namespace
    return documents


def as_run_here(deployment: dict[str, Any], vllm: Path, model: Path) -> dict[str, Any]:
    """The example's Deployment with another program, model and size; when it is ready and how it ends stays."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["command"] = [str(vllm), "serve"]
    container["args"] = [str(model), *container["args"][1:], *ENGINE_WORDS]
    container["env"] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        *({"name": name, "value": value} for name, value in ENVIRONMENT.items()),
    ]
    return deployment


def policy(namespace: str) -> dict[str, Any]:
    """The example's policy with a hold that a test can wait for, and an objective that such long answers leave."""
    (document,) = example("policy.yaml", namespace)
    document["spec"]["signals"]["staleSeconds"] = 15
    document["spec"]["loading"] = {"expectedSeconds": 60, "budgetSeconds": 900}
    document["spec"]["objectives"] = {"timeToFirstToken": {"percentile": 95, "milliseconds": 10_000}}
    document["spec"]["behavior"] = {
        "flapsPerHour": 60,
        "scaleDown": {"holdSeconds": HOLD_S, "periodSeconds": SHRINK_EVERY_S},
    }
    return document


def scrape_configuration(kubeconfig: Path, namespace: str) -> dict[str, Any]:
    """Prometheus reads all pods of the namespace."""
    meta = "__meta_kubernetes_pod"
    job = {
        "job_name": "vllm",
        "kubernetes_sd_configs": [
            {"role": "pod", "kubeconfig_file": str(kubeconfig), "namespaces": {"names": [namespace]}}
        ],
        "relabel_configs": [
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": [f"{meta}_name"], "target_label": "pod"},
        ],
    }
    return {"global": {"scrape_interval": f"{SCRAPE_S}s", "scrape_timeout": f"{SCRAPE_S}s"}, "scrape_configs": [job]}


@contextmanager
def staged(plane: ControlPlane, given: Programs, folder: Path) -> Iterator[tuple[Scene, NodeAgent]]:
    """One replica of vLLM that is ready, and the gateway open, for the length of a ``with``."""
    with ExitStack() as undo:
        undo.enter_context(plane.network.entered())
        undo.enter_context(installed_crds(plane, given.crds))
        tenant = undo.enter_context(tenant_of(plane.rest))
        agent = undo.enter_context(running_node(plane.rest, f"real-{tenant.namespace}", folder / "pods", gpus=4))
        write_model(folder / "model", step_s=STEP_S)
        deployment, service = example("deployment.yaml", tenant.namespace)
        documents = [as_run_here(deployment, given.vllm, folder / "model"), service]
        apply(plane, [*documents, *example("route.yaml", tenant.namespace)], folder)
        address = undo.enter_context(running_traefik(plane, given.traefik, folder, tenant.namespace))
        plane.start_prometheus(scrape_configuration(plane.kubeconfig, tenant.namespace))
        undo.callback(plane.end_prometheus)
        load = undo.enter_context(loading(address, MODEL))
        scene = Scene(tenant=tenant, world=World(tenant), load=load, run=Run())
        scene.wait_for("the first replica", lambda: len(scene.ready_pods()) == 1, within_s=START_WITHIN_S)
        wait_for("the way through the gateway", lambda: answers(f"{address}/v1/models"), within_s=60.0)
        yield scene, agent


def apply(plane: ControlPlane, documents: list[dict[str, Any]], folder: Path) -> None:
    """Apply the documents as a user would."""
    path = folder / "applied.yaml"
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    plane.kubectl("apply", "--server-side", "-f", str(path))


def answers(address: str, method: str = "GET") -> bool:
    """Whether a request to ``address`` is answered well."""
    host, _, path = address.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, f"/{path}")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


# --- The play ----------------------------------------------------------------------------------------------------


def compare_one_replica(scene: Scene) -> None:
    """A burst on the one replica, three times what it works on at a time: what it says of it, and what clients saw."""
    scene.load.set_clients(3 * SEQUENCES, answer_tokens=60)
    scene.wait_for("all at work", lambda: scene.load.at_work() == 3 * SEQUENCES, within_s=60.0)
    expected = [float(SEQUENCES), 2.0 * SEQUENCES]
    work = wait_for("a full batch and a queue", scene.work, lambda seen: seen == expected, within_s=60.0)
    scene.run.present = {signal: scene.told(choices[0]) for signal, choices in VLLM.items()}
    cache = scene.ask("max_over_time(vllm:kv_cache_usage_perc[10s])")
    scene.load.set_clients(0, answer_tokens=60)
    scene.wait_for("the burst over", lambda: scene.load.at_work() == 0, within_s=120.0)
    streams = [stream for stream in scene.load.streams() if not stream.cut]
    tokens = sum(stream.tokens for stream in streams)
    scene.wait_for("the last token scraped", lambda: scene.ask("vllm:generation_tokens_total") >= tokens, within_s=30.0)
    scene.run.agreements = [
        exactly("requests running", work[0], expected[0]),
        exactly("requests waiting", work[1], expected[1]),
        exactly("prompt tokens", scene.ask("vllm:prompt_tokens_total"), sum(each.prompt_tokens for each in streams)),
        exactly("generated tokens", scene.ask("vllm:generation_tokens_total"), tokens),
        # A prompt and its answer fill two blocks of 128 tokens; one of the 20 blocks is vLLM's own.
        Agreement(what="KV cache in use, share", engine=cache, client=16 / 19, within=(8 / 19, 16 / 19)),
        *latencies(scene, streams),
    ]


def exactly(what: str, engine: float, client: float) -> Agreement:
    """The two must be the same number."""
    return Agreement(what=what, engine=engine, client=client, within=(client, client))


def latencies(scene: Scene, streams: list[Stream]) -> list[Agreement]:
    """Quantiles, which must lie in the same bucket or the next."""
    first_s = [stream.first_token_s for stream in streams if stream.first_token_s is not None]
    gaps_s = [gap for stream in streams for gap in stream.gaps_s]
    return [
        within_a_bucket(scene, "TTFT p50, s", "vllm:time_to_first_token_seconds", first_s, 0.5),
        within_a_bucket(scene, "TTFT p95, s", "vllm:time_to_first_token_seconds", first_s, 0.95),
        within_a_bucket(scene, "time between tokens p50, s", "vllm:inter_token_latency_seconds", gaps_s, 0.5),
    ]


def within_a_bucket(scene: Scene, what: str, name: str, seen: list[float], share: float) -> Agreement:
    """The engine's quantile and the clients'."""
    engine = scene.ask(f"histogram_quantile({share}, sum by (le) ({name}_bucket))")
    client = quantile(seen, share)
    bounds = sorted(float(each["metric"]["le"]) for each in asked(f"max by (le) ({name}_bucket)"))
    above = next(index for index, bound in enumerate(bounds) if client <= bound)
    low = bounds[above - 2] if above >= 2 else 0.0
    return Agreement(what=what, engine=engine, client=client, within=(low, bounds[min(above + 1, len(bounds) - 1)]))


def quantile(values: list[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def grow(scene: Scene) -> None:
    """More than twice what one replica works on, until three are ready and have served a while."""
    scene.run.rose_at_s = scene.load.set_clients(MANY, answer_tokens=USUAL)
    scene.wait_for("three asked for", lambda: scene.world.requested() == 3, within_s=SETTLES_WITHIN_S)
    scene.wait_for("three ready", lambda: len(scene.ready_pods()) == 3, within_s=START_WITHIN_S)
    at_s = scene.run.grown_at_s = scene.load.set_clients(MANY, answer_tokens=USUAL)
    scene.wait_for("work for three", lambda: len(begun_in(scene.load.streams(), at_s)) >= 90, within_s=SETTLES_WITHIN_S)
    scene.run.learned = scene.world.status()["learned"][0]["loadSeconds"]


def begun_in(streams: list[Stream], from_s: float, to_s: float = math.inf) -> list[Stream]:
    """The streams that began in a time and have ended."""
    return [stream for stream in streams if from_s <= stream.began_at_s < to_s]


def shrink(scene: Scene, controller: Controller) -> None:
    """Few clients, until one replica is left and the others are gone whole; on the way, one of two sleeps for a while.

    The answers are longer than preStop until two are left, so that a stream is under way when the first has to end.
    """
    scene.run.fell_at_s = scene.load.set_clients(FEW, answer_tokens=LONG)
    scene.wait_for("two asked for", lambda: scene.world.requested() == 2, within_s=SETTLES_WITHIN_S)
    sleep_a_while(scene, controller)
    scene.load.set_clients(LAST, answer_tokens=USUAL)
    scene.wait_for("one left", lambda: len(scene.look()) == 1, within_s=SETTLES_WITHIN_S)
    scene.run.back_at_s = scene.load.set_clients(0, answer_tokens=1)
    scene.wait_for("the last streams ended", lambda: scene.load.at_work() == 0, within_s=120.0)


def sleep_a_while(scene: Scene, controller: Controller) -> None:
    """One of the two replicas sleeps, without any traffic, for longer than Forebay waits between two shrinks."""
    scene.load.set_clients(0, answer_tokens=1)
    scene.wait_for("no traffic", lambda: scene.load.at_work() == 0, within_s=120.0)
    address = f"http://{scene.ready_pods()[0]['status']['podIP']}:8000"
    if not answers(f"{address}/sleep?level=1", "POST"):
        raise RuntimeError("the engine did not go to sleep")
    scene.wait_for(
        "a long sleep",
        lambda: duration_s(asleep_in(controller.decisions())) > SHRINK_EVERY_S + 20.0,
        within_s=SETTLES_WITHIN_S,
    )
    scene.run.asleep = asleep_in(controller.decisions())
    if not answers(f"{address}/wake_up", "POST"):
        raise RuntimeError("the engine did not wake up")


def last_said(controller: Controller | None) -> str:
    """The rulings of the last decision, which say why it has not come to what was waited for."""
    lines = [] if controller is None else controller.decisions()
    targets = lines[-1]["record"]["plan"]["targets"] if lines else []
    return "\n".join(f"{each['rule']}: {each['because']}" for target in targets for each in target["trail"])


def asleep_in(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The decisions that saw a replica asleep."""
    return [line for line in lines if asleep(line)]


def duration_s(lines: list[dict[str, Any]]) -> float:
    """From the first to the last of these decisions."""
    return at_s_of(lines[-1]) - at_s_of(lines[0]) if lines else 0.0


def at_s_of(line: Mapping[str, Any]) -> float:
    """When a decision was taken."""
    return float(line["record"]["plan"]["at_s"])


def asleep(line: Mapping[str, Any]) -> int:
    """The replicas that a decision saw asleep."""
    return sum(bool(replica["is_asleep"]) for replica in fleet_of(line).get("replicas", ()))


def fleet_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """The replicas as a decision saw them, or why it did not."""
    fleets = line["record"]["observation"]["fleets"]
    found: dict[str, Any] = fleets[0]["fleet"] if fleets else {}
    return found


def played(plane: ControlPlane, given: Programs, folder: Path) -> Run:
    """The whole run: compare, grow, shrink."""
    with staged(plane, given, folder) as (scene, agent), ExitStack() as undo:
        controller = None
        try:
            compare_one_replica(scene)
            path = scene.tenant.path("forebay.dev/v1alpha1", "scalingpolicies", "llama")
            kubeconfig = admitted(plane)
            plane.rest.patch(path, policy(scene.tenant.namespace), Patch.APPLY)
            controller = undo.enter_context(controlling(kubeconfig, scene.tenant.namespace, folder / "controller"))
            scene.world.wait_for_condition("SignalsHealthy", "True", within_s=120.0)
            grow(scene)
            shrink(scene, controller)
        except (TimeoutError, RuntimeError, OSError) as error:
            raise RuntimeError(f"{error}\n{last_said(controller)}\n{agent.logs()}") from error
        scene.run.decisions = controller.decisions()
        scene.run.streams = scene.load.streams()
        (folder / "run.json").write_text(json.dumps(kept(scene.run)), encoding="utf-8")
        return scene.run


# --- What is kept of it ------------------------------------------------------------------------------------------


def kept(run: Run) -> dict[str, Any]:
    """The run for testbed/vllm/picture.py and for docs/vllm.md."""
    chosen = {key: value for key, value in asdict(run).items() if key not in {"present", "asleep", "decisions"}}
    return {
        **chosen,
        "moments": [moment_of(line) for line in run.decisions],
        "work": {name: over_time(f"sum(vllm:num_requests_{name})") for name in ("running", "waiting")},
    }


def moment_of(line: Mapping[str, Any]) -> dict[str, float]:
    """What a decision saw and asked for."""
    fleet = fleet_of(line)
    there = [each for each in fleet.get("replicas", ()) if each["deleted_at_s"] is None]
    return {
        "at_s": at_s_of(line),
        "requested": fleet.get("requested", 0),
        "ready": sum(each["is_ready"] and not each["is_asleep"] for each in there),
        "asleep": sum(each["is_asleep"] for each in there),
        "starting": sum(not each["is_ready"] for each in there),
    }


def over_time(query: str) -> list[tuple[float, float]]:
    """What Prometheus has of the last half hour, for each second that it knows of."""
    found = asked(f"({query})[30m:1s]")
    return [(at_s, float(value)) for at_s, value in found[0]["values"]] if found else []
