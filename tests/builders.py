"""Values for tests: each builder takes only the difference that matters, and fills in a quiet, healthy rest."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.core.decide import decide
from scaler.core.memory import LoadSample, Memory, TargetMemory, Wished
from scaler.core.model import (
    Behavior,
    Fleet,
    FleetSeen,
    Load,
    Loading,
    Missing,
    Observation,
    Policy,
    Release,
    ReleaseStep,
    Replica,
    Role,
    Snapshot,
    Target,
    TargetKey,
    Version,
    Work,
)
from scaler.core.plan import Plan

NAME = "models/llama"
START_S = 1_000_000.0


def key(version: str = "v1", role: Role = Role.SERVE) -> TargetKey:
    return TargetKey(version=version, role=role.value)


def load(running: float = 0.0, waiting: float = 0.0, kv_usage: float = 0.0, at_s: float = START_S) -> Load:
    return Load(at_s=at_s, running=running, waiting=waiting, kv_usage=kv_usage)


def work(
    prefill: float = 0.0, decode: float = 0.0, finished: float = 0.0, inter_token_latency_s: float | None = None
) -> Work:
    """So many tokens and requests by the second."""
    return Work(
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=decode,
        finished_per_s=finished,
        inter_token_latency_s=inter_token_latency_s,
    )


def ready(name: str = "a", age_s: float = 1000.0, at_s: float = START_S, load: Load | Missing | None = None) -> Replica:
    """A replica that has been ready since ``age_s`` ago, 300 s after it was created."""
    ready_at_s = at_s - age_s
    return Replica(
        name=name,
        created_at_s=ready_at_s - 300.0,
        scheduled_at_s=ready_at_s - 299.0,
        pulled_at_s=ready_at_s - 200.0,
        initialised_at_s=ready_at_s - 190.0,
        ready_at_s=ready_at_s,
        is_ready=True,
        node_class="H100",
        load=Load(at_s=at_s, running=0.0, waiting=0.0, kv_usage=0.0) if load is None else load,
    )


def starting(name: str = "s", age_s: float = 30.0, at_s: float = START_S) -> Replica:
    created_at_s = at_s - age_s
    return Replica(name=name, created_at_s=created_at_s, scheduled_at_s=created_at_s, node_class="H100")


def unschedulable(name: str = "u", for_s: float = 300.0, at_s: float = START_S) -> Replica:
    return Replica(name=name, created_at_s=at_s - for_s, unschedulable_since_s=at_s - for_s)


def lost(name: str = "l", for_s: float = 30.0, at_s: float = START_S) -> Replica:
    return replace(ready(name, at_s=at_s), is_ready=False, unready_since_s=at_s - for_s)


def serving(
    count: int, running: float = 0.0, waiting: float = 0.0, kv_usage: float = 0.0, *, at_s: float = START_S
) -> tuple[Replica, ...]:
    """``count`` ready replicas, each with this load."""
    told = load(running, waiting, kv_usage, at_s)
    return tuple(ready(f"r{index}", at_s=at_s, load=told) for index in range(count))


def fleet(*replicas: Replica, requested: int | None = None) -> Fleet:
    """A fleet that is asked for what it has, unless told otherwise."""
    return Fleet(requested=len(replicas) if requested is None else requested, replicas=replicas, gpus_per_replica=1)


def seen(
    fleets: Fleet | Missing | Mapping[str, Fleet | Missing],
    weights: Mapping[str, int] | Missing | None = None,
) -> Observation:
    """What was seen of one version v1, or of several by name."""
    by_version = fleets if isinstance(fleets, Mapping) else {"v1": fleets}
    told = tuple(FleetSeen(key=key(version), fleet=each) for version, each in by_version.items())
    return Observation(fleets=told) if weights is None else Observation(fleets=told, weights=weights)


def world(observation: Observation, at_s: float = START_S) -> Snapshot:
    return Snapshot(at_s=at_s, models={NAME: observation})


def plan_of(
    observation: Observation, asked: Policy | None = None, memory: Memory | None = None, at_s: float = START_S
) -> Plan:
    """What one tick decides for one policy."""
    (plan,) = decide(world(observation, at_s), {} if memory is None else {NAME: memory}, [asked or policy()])
    return plan


BEHAVIOR = Behavior(
    hold_s=None, shrink_step_percent=25, shrink_period_s=60.0, grow_step=None, grow_period_s=60.0, flaps_per_hour=2
)


def version(name: str = "v1", **target: int) -> Version:
    return Version(
        name=name,
        targets=(
            Target(key=key(name), min_replicas=target.get("min_replicas", 0), max_replicas=target.get("max_replicas")),
        ),
    )


def policy(
    *,
    versions: Sequence[Version] | None = None,
    min_replicas: int = 1,
    max_replicas: int = 40,
    behavior: Behavior = BEHAVIOR,
    loading: Loading | None = None,
    **rest: object,
) -> Policy:
    """A policy of one version, 1 to 40 replicas, no floor, a start expected to take 300 s."""
    plain = Policy(
        name=NAME,
        versions=tuple(versions or (version(),)),
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        warm_floor=0,
        warm_windows=(),
        loading=loading or Loading(expected_s=300.0, budget_s=1800.0),
        behavior=behavior,
        stale_after_s=90.0,
    )
    return replace(plain, **rest)  # type: ignore[arg-type]  # the rest is named by the test


def releasing(*steps: tuple[int, float], to: str = "v2", has_analysis: bool = False, **rest: object) -> Policy:
    """A policy of v1 and v2 that asks for ``to`` to serve."""
    release = Release(
        version=to,
        steps=tuple(ReleaseStep(weight_percent=weight, hold_s=hold_s) for weight, hold_s in steps),
        has_analysis=has_analysis,
    )
    return policy(versions=(version("v1"), version("v2")), release=release, **rest)  # type: ignore[arg-type]  # as above


def watched(
    *wished: tuple[float, int], for_s: float = 7200.0, at_s: float = START_S, last_s: float = 15.0, **rest: object
) -> Memory:
    """A memory of a target v1 whose demand has been known for ``for_s``, with these (age, wish) pairs."""
    target = TargetMemory(
        key=key(),
        known_from_s=at_s - for_s,
        wished=tuple(Wished(at_s=at_s - age_s, replicas=replicas) for age_s, replicas in wished),
    )
    return Memory(at_s=at_s - last_s, targets=(replace(target, **rest),))  # type: ignore[arg-type]  # as above


def sample(total_s: float, version: str = "v1", node_class: str | None = "H100") -> LoadSample:
    return LoadSample(key=key(version), node_class=node_class, total_s=total_s)
