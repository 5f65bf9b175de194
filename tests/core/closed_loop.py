"""A little cluster around the core: what was commanded comes true, pods start and crash, and commands break off.

Time, work and mishaps are events that a property draws; everything else follows from them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from scaler.core.memory import Memory
from scaler.core.model import Fleet, FleetSeen, Missing, Observation, Policy, Release, ReleaseStep, Replica, ScaleToZero
from scaler.core.plan import Command, Plan, SetReplicas, SetWeights
from tests.builders import BEHAVIOR, START_S, key, load, lost, plan_of, policy, ready, version
from tests.core.strategies import splits

SETTLED_S = 1000.0
"""How long a pod of the model has been ready: long enough to be read."""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One replica of a version: ready, starting, or ready no more."""

    name: str
    version: str
    is_ready: bool = False
    is_lost: bool = False


@dataclass(frozen=True, kw_only=True)
class Site:
    """The cluster and the controller's memory between two ticks. ``running`` None: no engine can be read."""

    policy: Policy
    at_s: float
    requested: Mapping[str, int]
    weights: Mapping[str, int]
    pods: tuple[Pod, ...]
    running: int | None
    memory: Memory | None
    made: int = 0

    def of(self, name: str) -> tuple[Pod, ...]:
        """The pods of one version."""
        return tuple(pod for pod in self.pods if pod.version == name)

    def ready(self, name: str) -> int:
        """How many of them are ready."""
        return len([pod for pod in self.of(name) if pod.is_ready])


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happens before a tick, and how many of its commands come through (None: all)."""

    after_s: float = 15.0
    running: int | None = 0
    starts: bool = True
    crash: str | None = None
    loses: bool = False
    forgets: bool = False
    word: str | None = None
    cut: int | None = None


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What was before a decision, and the decision."""

    site: Site
    plan: Plan


def ran(site: Site, events: Sequence[Event]) -> Iterator[Tick]:
    """The ticks of ``events``, one after the other."""
    for event in events:
        site = happened(site, event)
        plan = plan_of(observed(site), site.policy, site.memory, site.at_s)
        yield Tick(site=site, plan=plan)
        site = applied(replace(site, memory=plan.memory), plan.commands[: event.cut])


def happened(site: Site, event: Event) -> Site:
    """The site after ``event``, with as many pods as are asked for."""
    release = site.policy.release
    asked = site.policy
    if event.word is not None and release is not None:
        asked = replace(asked, release=replace(release, version=event.word))
    return replace(
        site,
        policy=asked,
        at_s=site.at_s + event.after_s,
        running=event.running,
        memory=None if event.forgets else site.memory,
        pods=tuple(survived(pod, event) for pod in site.pods if pod.version != event.crash or event.loses),
    )


def survived(pod: Pod, event: Event) -> Pod:
    """``pod`` after ``event``; one that crashes is lost, or was replaced by a new one."""
    if pod.version == event.crash and pod.is_ready:
        return replace(pod, is_ready=False, is_lost=True)
    return replace(pod, is_ready=True) if event.starts and not pod.is_lost else pod


def observed(site: Site) -> Observation:
    """What the controller sees: the work of each version is its share, spread over its ready pods."""
    names = [each.name for each in site.policy.versions]
    fleets = (
        Fleet(requested=site.requested[name], replicas=replicas(site, name), gpus_per_replica=1) for name in names
    )
    seen = tuple(FleetSeen(key=key(name), fleet=fleet) for name, fleet in zip(names, fleets, strict=True))
    at_gateway = Missing(why="connection refused") if site.running is None else float(site.running)
    return Observation(fleets=seen, weights=dict(site.weights), demand_at_gateway=at_gateway)


def replicas(site: Site, name: str) -> tuple[Replica, ...]:
    """The pods of one version as they are seen."""
    return tuple(replica(pod, site) for pod in site.of(name))


def replica(pod: Pod, site: Site) -> Replica:
    """One pod as it is seen."""
    if pod.is_lost:
        return lost(pod.name, for_s=60.0, at_s=site.at_s)
    if not pod.is_ready:
        return Replica(name=pod.name, created_at_s=site.at_s - 10.0, scheduled_at_s=site.at_s - 9.0)
    told = load(running=running_of(pod.version, site) / site.ready(pod.version), at_s=site.at_s)
    silent = Missing(why="connection refused")
    return ready(pod.name, age_s=SETTLED_S, at_s=site.at_s, load=silent if site.running is None else told)


def running_of(name: str, site: Site) -> float:
    """The requests that a version has, 0 while nobody there takes any."""
    return (site.running or 0) * site.weights.get(name, 0) / 100 if site.ready(name) else 0.0


def applied(site: Site, commands: Sequence[Command]) -> Site:
    """The site in which ``commands`` have come true."""
    requested, weights = dict(site.requested), site.weights
    for command in commands:
        match command:
            case SetReplicas(key=target, replicas=count):
                requested[target.version] = count
            case SetWeights(weights=told):
                weights = told
    return reconciled(replace(site, requested=requested, weights=weights))


def reconciled(site: Site) -> Site:
    """As many pods of each version as are asked for; those that are not ready go first."""
    kept: list[Pod] = []
    made = site.made
    for name, count in site.requested.items():
        has = sorted(site.of(name), key=lambda pod: (pod.is_lost, not pod.is_ready, pod.name))[:count]
        new = [Pod(name=f"{name}-{made + index:04}", version=name) for index in range(count - len(has))]
        made += len(new)
        kept += [*has, *new]
    return replace(site, pods=tuple(kept), made=made)


# --- What a property draws ---------------------------------------------------------------------------------------


@st.composite
def sites(draw: st.DrawFn, *, most_versions: int = 3) -> Site:
    """A release at any point, whose versions with traffic have as many replicas as they may."""
    names = [f"v{number}" for number in range(1, 1 + draw(st.integers(2, most_versions)))]
    steps = [*sorted(draw(st.sets(st.sampled_from([5, 25, 50, 75]), max_size=2))), 100]
    asked = policy(
        versions=[version(name) for name in names],
        max_replicas=draw(st.sampled_from([4, 8, 40])),
        warm_floor=draw(st.sampled_from([0, 0, 3])),
        scale_to_zero=draw(st.sampled_from([None, None, ScaleToZero(idle_s=60.0)])),
        behavior=replace(BEHAVIOR, hold_s=draw(st.sampled_from([0.0, 60.0, None])), flaps_per_hour=60),
        release=Release(
            version=draw(st.sampled_from(names)),
            steps=tuple(
                ReleaseStep(weight_percent=weight, hold_s=draw(st.sampled_from([0.0, 60.0]))) for weight in steps
            ),
        ),
    )
    weights = draw(splits(names))
    least = asked.max_replicas // 4
    requested = {name: draw(st.integers(min(1, weights[name]) * least, least)) for name in names}
    site = Site(
        policy=asked,
        at_s=START_S,
        requested=requested,
        weights=weights,
        pods=(),
        running=0,
        memory=None,
    )
    return reconciled(site)


def mishaps(names: Sequence[str]) -> st.SearchStrategy[Event]:
    """Any event among these versions."""
    never = st.none()
    return st.builds(
        Event,
        after_s=st.sampled_from([15.0, 60.0, 60.0, 60.0, 300.0]),
        running=st.sampled_from([0, 24, 100, 100, 190, 190, 400, None]),
        starts=st.sampled_from([True, True, False]),
        crash=st.one_of(never, never, st.sampled_from(list(names))),
        loses=st.booleans(),
        forgets=st.sampled_from([False, False, False, True]),
        word=st.one_of(never, never, never, st.sampled_from(list(names))),
        cut=st.one_of(never, never, st.integers(0, 2)),
    )


@st.composite
def stories(draw: st.DrawFn) -> tuple[Site, list[Event]]:
    """A site and what happens to it."""
    site = draw(sites())
    names = [each.name for each in site.policy.versions]
    return site, draw(st.lists(mishaps(names), min_size=4, max_size=14))
