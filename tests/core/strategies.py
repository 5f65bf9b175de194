"""Worlds for properties: any policy, any mess of replicas, any signal that is lost, and any memory of it.

A replica's name begins with its kind, so that a property can say what was wrong without asking the code under test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Final

from hypothesis import strategies as st

from scaler.core.capacity import learned
from scaler.core.forecast import watched
from scaler.core.memory import CapacityMemory, Course, LoadSample, Memory, ReleaseMemory, TargetMemory, Wished
from scaler.core.model import (
    NO_PICKER,
    Actuation,
    Behavior,
    Demand,
    Fleet,
    FleetSeen,
    Loading,
    Missing,
    Observation,
    Policy,
    Release,
    ReleaseStep,
    Replica,
    Role,
    ScaleToZero,
    Target,
    TargetKey,
    Tokens,
    Version,
    WarmWindow,
    Work,
)
from scaler.core.plan import Plan
from tests.builders import START_S, load, lost, plan_of, policy, ready, starting, unschedulable, work

GAP_S: Final = 120.0
AWAY: Final = Missing(why="the API server is away")
SILENT: Final = Missing(why="connection refused")


@dataclass(frozen=True, kw_only=True)
class World:
    """The arguments of one decision for one policy."""

    policy: Policy
    observation: Observation
    memory: Memory | None

    def plan(self) -> Plan:
        """What is decided."""
        return plan_of(self.observation, self.policy, self.memory)

    def memory_of(self, key: TargetKey) -> TargetMemory | None:
        """What is remembered of a target without a gap, None where nothing is."""
        if self.memory is None or not 0.0 <= START_S - self.memory.at_s <= GAP_S:
            return None
        return next((each for each in self.memory.targets if each.key == key), None)

    def fleets(self, role: str) -> list[Fleet | Missing]:
        """What was seen of each target of ``role``."""
        return [self.observation.fleet(target.key) for target in self.policy.targets() if target.key.role == role]


# --- Replicas ----------------------------------------------------------------------------------------------------

HEALTHY: Final = ("idle", "busy", "full")
BROKEN: Final = ("silent", "stale", "ahead", "nan", "negative", "huge", "fresh", "lost")
ELSE: Final = ("starting", "slow", "homeless", "crashed", "failed", "draining")

KINDS: Final[Mapping[str, Callable[[str], Replica]]] = {
    "idle": lambda name: ready(name, load=load()),
    "busy": lambda name: ready(name, load=load(running=20.0, waiting=1.0, kv_usage=0.5)),
    "full": lambda name: ready(name, load=load(running=60.0, waiting=30.0, kv_usage=1.0)),
    "silent": lambda name: ready(name, load=SILENT),
    "stale": lambda name: ready(name, load=load(at_s=START_S - 3600.0)),
    "ahead": lambda name: ready(name, load=load(at_s=START_S + 3600.0)),
    "nan": lambda name: ready(name, load=load(running=nan)),
    "negative": lambda name: ready(name, load=load(waiting=-1.0)),
    "huge": lambda name: ready(name, load=load(running=1e9)),
    "fresh": lambda name: ready(name, age_s=20.0, load=SILENT),
    "lost": lambda name: lost(name, for_s=100.0),
    "starting": starting,
    "slow": lambda name: starting(name, age_s=5000.0),
    "homeless": unschedulable,
    "crashed": lambda name: replace(starting(name, age_s=400.0), restarts=2),
    "failed": lambda name: lost(name, for_s=9000.0),
    "draining": lambda name: replace(ready(name), deleted_at_s=START_S - 5.0),
}

COUNTED: Final[Mapping[str, Work]] = {
    "idle": work(),
    "busy": work(prefill=4000.0, decode=1000.0, finished=5.0, inter_token_latency_s=0.02),
    "full": work(prefill=6000.0, decode=1500.0, finished=7.0, inter_token_latency_s=0.04),
}
"""What the engines of the healthy ones count in a minute, where they count tokens at all."""


def counting(fleet: Fleet) -> Fleet:
    """``fleet`` with engines that count tokens."""
    return replace(fleet, replicas=tuple(_counting(replica) for replica in fleet.replicas))


def _counting(replica: Replica) -> Replica:
    counted = COUNTED.get(kind(replica))
    if counted is None or isinstance(replica.load, Missing):
        return replica
    return replace(replica, load=replace(replica.load, work=counted))


def kind(replica: Replica) -> str:
    """What is the matter with it."""
    return replica.name.partition(".")[0]


healthy_kinds = st.sampled_from(["idle", "idle", "idle", "busy", "full"])
any_kinds = st.one_of(healthy_kinds, healthy_kinds, st.sampled_from(BROKEN), st.sampled_from(ELSE))


def fleets(version: str, kinds: st.SearchStrategy[str], *, counts: bool) -> st.SearchStrategy[Fleet]:
    """Some replicas, mostly as many as are asked for, whose engines count tokens or do not."""
    several = st.builds(
        lambda several, off: Fleet(
            requested=max(0, len(several) + off),
            replicas=tuple(KINDS[each](f"{each}.{version}.{index}") for index, each in enumerate(several)),
            gpus_per_replica=1,
        ),
        st.lists(kinds, max_size=6),
        st.sampled_from([0, 0, 0, -1, 2, 5]),
    )
    return several.map(counting) if counts else several


# --- Policies ----------------------------------------------------------------------------------------------------

behaviors = st.builds(
    Behavior,
    hold_s=st.sampled_from([None, None, 0.0, 120.0]),
    shrink_step_percent=st.sampled_from([25, 100]),
    shrink_period_s=st.sampled_from([1.0, 60.0]),
    grow_step=st.sampled_from([None, 2]),
    grow_period_s=st.just(60.0),
    flaps_per_hour=st.integers(1, 4),
)
windows = st.builds(
    lambda from_s, floor: WarmWindow(from_s=START_S + from_s, until_s=START_S + from_s + 600.0, floor=floor),
    st.sampled_from([-700.0, -300.0, 100.0]),
    st.integers(0, 8),
)


@st.composite
def policies(draw: st.DrawFn, *, most_versions: int = 2, may_rest: bool = False) -> Policy:
    """One version or more, each with the same roles; more than one have a release.

    One that ``may_rest`` asks for zero; of the others some do.
    """
    names = [f"v{number}" for number in range(1, 1 + draw(st.integers(1, most_versions)))]
    whole = [(Role.SERVE,), (Role.SERVE,)]
    roles = draw(st.sampled_from(whole if may_rest else [*whole, (Role.PREFILL, Role.DECODE)]))
    rests = may_rest or (roles == (Role.SERVE,) and draw(st.booleans()))
    high = draw(st.sampled_from([1, 3, 8, 40, 40]))
    steps = [*sorted(draw(st.sets(st.integers(1, 99), max_size=2))), 100]
    release = Release(
        version=draw(st.sampled_from(names)),
        steps=tuple(ReleaseStep(weight_percent=weight, hold_s=draw(st.sampled_from([0.0, 300.0]))) for weight in steps),
        has_analysis=draw(st.booleans()),
    )
    return policy(
        versions=[
            Version(name=name, targets=tuple(draw(targets(TargetKey(version=name, role=role.value))) for role in roles))
            for name in names
        ],
        min_replicas=0 if rests else draw(st.integers(0, min(high, 3))),
        max_replicas=high,
        behavior=draw(behaviors),
        loading=Loading(expected_s=draw(st.sampled_from([60.0, 300.0])), budget_s=1800.0),
        warm_floor=draw(st.sampled_from([0, 0, 2])),
        warm_windows=tuple(draw(st.lists(windows, max_size=1))),
        release=release if len(names) > 1 or draw(st.booleans()) else None,
        actuation=draw(st.sampled_from([Actuation.SCALE, Actuation.SCALE, *Actuation])),
        paused=draw(st.sampled_from([False, False, False, True])),
        scale_to_zero=ScaleToZero(idle_s=draw(st.sampled_from([60.0, 1800.0]))) if rests else None,
    )


def targets(key: TargetKey) -> st.SearchStrategy[Target]:
    """Mostly without bounds of its own."""
    bounds = st.sampled_from([(0, None), (0, None), (0, None), (1, None), (0, 4), (2, 3)])
    return bounds.map(lambda low_high: Target(key=key, min_replicas=low_high[0], max_replicas=low_high[1]))


# --- What is seen and remembered ---------------------------------------------------------------------------------


@st.composite
def splits(draw: st.DrawFn, names: list[str]) -> dict[str, int]:
    """All of the traffic, on these versions."""
    parts = st.sampled_from([0, 0, 5, 50, 95, 100]) | st.integers(0, 100)
    cuts = sorted(draw(st.lists(parts, min_size=len(names) - 1, max_size=len(names) - 1)))
    return {name: high - low for name, low, high in zip(names, [0, *cuts], [*cuts, 100], strict=True)}


gateways: st.SearchStrategy[float | Missing] = st.sampled_from(
    [NO_PICKER, NO_PICKER, NO_PICKER, 0.0, 300.0, AWAY, nan, -1.0]
)


demand_queries: st.SearchStrategy[float | Missing | None] = st.sampled_from([None, 0.0, 0.0, 0.0, 3.0, AWAY, nan, -1.0])


@st.composite
def observations(draw: st.DrawFn, asked: Policy, *, broken: bool = True) -> Observation:
    """What may be seen of ``asked``; where it is not ``broken``, everything is there and speaks."""
    kinds = any_kinds if broken else healthy_kinds
    away = st.just(AWAY) if broken else st.nothing()
    counts = draw(st.booleans())
    seen = [
        FleetSeen(
            key=target.key,
            fleet=draw(st.one_of(*[fleets(target.key.version, kinds, counts=counts)] * 5, away)),
        )
        for target in asked.targets()
    ]
    weights = st.one_of(*[splits([version.name for version in asked.versions])] * 5, away)
    return Observation(
        fleets=tuple(seen),
        weights=draw(weights),
        gateway_waiting=draw(gateways) if broken else NO_PICKER,
        demand_at_gateway=draw(demand_queries) if broken and asked.scale_to_zero is not None else None,
    )


def memories_of(key: TargetKey) -> st.SearchStrategy[TargetMemory]:
    """Mostly one that lets a target shrink: watched for long, with no high wish."""
    ages_s = st.sampled_from([10.0, 100.0, 200.0, 1000.0])
    return st.builds(
        lambda known_s, wished, moved_s, direction, turns_left: TargetMemory(
            key=key,
            known_from_s=None if known_s is None else START_S - known_s,
            wished=tuple(Wished(at_s=START_S - age_s, replicas=count) for age_s, count in wished),
            grown_at_s=None if moved_s is None else START_S - moved_s,
            shrunk_at_s=None if moved_s is None else START_S - moved_s,
            direction=direction,
            turns_left=turns_left,
            turns_at_s=None if turns_left is None else START_S - 15.0,
        ),
        st.sampled_from([7200.0, 7200.0, 7200.0, 30.0, None]),
        st.lists(st.tuples(ages_s, st.integers(0, 12)), max_size=1),
        st.sampled_from([None, None, 30.0]),
        st.sampled_from([-1, 0, 0, 1]),
        st.sampled_from([None, 0.0, 1.0, 2.0, 6.0]),
    )


def capacities_of(asked: Policy) -> tuple[CapacityMemory, ...]:
    """What an hour of minutes has told of the replicas of every target."""
    return tuple(replace(AN_HOUR, key=target.key) for target in asked.targets())


def _an_hour() -> CapacityMemory:
    capacity = CapacityMemory(key=TargetKey(version="v1", role=Role.SERVE.value), node_class="H100")
    for age_s in range(3600, 0, -60):
        at_s = START_S - age_s
        busy = load(running=20.0, waiting=1.0, kv_usage=0.5, at_s=at_s)
        full = load(running=60.0, waiting=30.0, kv_usage=1.0, at_s=at_s)
        told = (
            ready("a", load=replace(busy, work=COUNTED["busy"])),
            ready("b", load=replace(full, work=COUNTED["full"])),
        )
        capacity = learned(capacity, Fleet(requested=2, replicas=told))
    return capacity


AN_HOUR: Final = _an_hour()
"""Learned once, and before any part of the core is exchanged for a wrong one."""


def courses_of(asked: Policy, tokens_per_s: Sequence[float]) -> tuple[Course, ...]:
    """The demand of every role in the last minutes, a moment each minute, the last one a minute ago."""
    return tuple(_course_of(role, tokens_per_s) for role in sorted({target.key.role for target in asked.targets()}))


def _course_of(role: str, tokens_per_s: Sequence[float]) -> Course:
    course = Course(role=role)
    for ago, each in zip(range(len(tokens_per_s), 0, -1), tokens_per_s, strict=True):
        flow = Tokens(prefill_per_s=each, decode_per_s=each / 4.0, requests_per_s=each / 800.0, cache_share=0.02)
        demand = Demand(at_s=START_S - 60.0 * ago, running=each / 200.0, waiting=0.0, kv_replicas=0.1, tokens=flow)
        course = watched(course, demand, 345.0, 10_000.0)
    return course


@st.composite
def memories(draw: st.DrawFn, asked: Policy) -> Memory:
    """A memory of ``asked``, mostly of a moment ago."""
    names = [version.name for version in asked.versions]
    held = st.builds(
        ReleaseMemory,
        stable=st.sampled_from([*names, "gone"]),
        candidate=st.sampled_from(names),
        weight_percent=st.sampled_from([0, 5, 50, 100]),
        since_s=st.sampled_from([START_S - 9000.0, START_S - 30.0, START_S + 60.0]),
    )
    samples = st.builds(
        lambda key, total_s: LoadSample(key=key, node_class="H100", total_s=total_s),
        st.sampled_from([target.key for target in asked.targets()]),
        st.sampled_from([30.0, 240.0, 900.0, 90_000.0]),
    )
    return Memory(
        at_s=START_S - draw(st.sampled_from([15.0, 15.0, 15.0, 120.0, 121.0, -30.0])),
        targets=tuple(draw(memories_of(target.key)) for target in asked.targets()),
        load_samples=tuple(draw(st.lists(samples, max_size=3))),
        release=draw(st.none() | held),
        capacities=draw(st.sampled_from([(), capacities_of(asked)])),
        courses=courses_of(asked, draw(st.lists(st.sampled_from([0.0, 1000.0, 4000.0, 9000.0]), max_size=8))),
        idle_from_s=draw(st.sampled_from([None, START_S - 30.0, START_S - 7200.0, START_S - 7200.0])),
    )


@st.composite
def worlds(draw: st.DrawFn, *, broken: bool = True, most_versions: int = 2, may_rest: bool = False) -> World:
    """Any policy in any world."""
    asked = draw(policies(most_versions=most_versions, may_rest=may_rest))
    return World(
        policy=asked,
        observation=draw(observations(asked, broken=broken)),
        memory=draw(st.one_of(*[memories(asked)] * 5, st.none())),
    )


SIGNALS_WITHOUT_REPLICAS: Final[tuple[tuple[float | Missing | None, float | Missing], ...]] = (
    *((0.0, NO_PICKER), (0.0, NO_PICKER), (0.0, NO_PICKER), (0.0, 0.0), (None, 0.0), (3.0, NO_PICKER), (None, 7.0)),
    *((AWAY, NO_PICKER), (AWAY, 0.0), (AWAY, 7.0), (3.0, AWAY), (nan, NO_PICKER), (nan, 7.0), (-1.0, 0.0)),
)
"""What the demand query and the endpoint picker may say together."""


def with_few(world: World, several: Sequence[str], requested: int, told: tuple[object, object]) -> World:
    """The world with replicas of these kinds alone, and with these signals that need none."""
    replicas = tuple(KINDS[each](f"{each}.{index}") for index, each in enumerate(several))
    fleet = Fleet(requested=requested, replicas=replicas)
    seen = tuple(replace(each, fleet=fleet) for each in world.observation.fleets)
    return seeing(world, fleets=seen, demand_at_gateway=told[0], gateway_waiting=told[1])


@st.composite
def at_zero(draw: st.DrawFn) -> World:
    """A model that is at zero, with any memory and whatever replicas have not gone yet."""
    world = draw(worlds(most_versions=1, may_rest=True))
    several = draw(st.lists(st.sampled_from(["idle", "busy", *BROKEN, *ELSE]), max_size=2))
    return with_few(world, several, 0, draw(st.sampled_from(SIGNALS_WITHOUT_REPLICAS)))


@st.composite
def near_zero(draw: st.DrawFn) -> World:
    """A model with one replica left, which would go but for what may be wrong."""
    asked = policy(min_replicas=0, scale_to_zero=ScaleToZero(idle_s=draw(st.sampled_from([60.0, 1800.0]))))
    (target,) = asked.targets()
    idle_from_s = draw(st.sampled_from([START_S - 7200.0, START_S - 30.0, START_S - 30.0, None]))
    world = World(
        policy=asked,
        observation=Observation(fleets=(FleetSeen(key=target.key, fleet=AWAY),)),
        memory=Memory(
            at_s=START_S - draw(st.sampled_from([15.0, 15.0, 15.0, 121.0, -30.0])),
            targets=(TargetMemory(key=target.key, known_from_s=START_S - 7200.0),),
            idle_from_s=idle_from_s,
        ),
    )
    several = [draw(st.sampled_from([*["idle"] * 8, "busy", *BROKEN, *ELSE]))]
    return with_few(world, several, 1, draw(st.sampled_from(SIGNALS_WITHOUT_REPLICAS)))


# --- One fault at a time -----------------------------------------------------------------------------------------

Fault = Callable[[World, Replica], World]
"""A healthy world with one thing gone wrong; the replica is a broken one to put into it."""


def with_a_replica(world: World, broken: Replica) -> World:
    """Its first replica is ``broken``."""
    first = world.observation.fleets[0]
    assert isinstance(first.fleet, Fleet)
    fleet = replace(first.fleet, replicas=(broken, *first.fleet.replicas[1:]))
    return seeing(world, fleets=(replace(first, fleet=fleet), *world.observation.fleets[1:]))


def without_a_fleet(world: World, _: Replica) -> World:
    """The replicas of its first target cannot be listed."""
    first, *rest = world.observation.fleets
    return seeing(world, fleets=(replace(first, fleet=AWAY), *rest))


def seeing(world: World, **difference: object) -> World:
    """The world with something else in its observation."""
    return replace(world, observation=replace(world.observation, **difference))  # type: ignore[arg-type]  # named above


def remembering(world: World, last_s: float, **difference: object) -> World:
    """The world with a memory of ``last_s`` ago, and something else remembered of each target."""
    assert world.memory is not None
    targets = tuple(replace(each, **difference) for each in world.memory.targets)  # type: ignore[arg-type]  # named below
    return replace(world, memory=replace(world.memory, at_s=START_S - last_s, targets=targets))


FAULTS: Final[tuple[Fault, ...]] = (
    with_a_replica,
    with_a_replica,
    with_a_replica,
    without_a_fleet,
    lambda world, _: seeing(world, weights=AWAY),
    lambda world, _: seeing(world, gateway_waiting=AWAY),
    lambda world, _: seeing(world, gateway_waiting=nan),
    lambda world, _: replace(world, memory=None),
    lambda world, _: remembering(world, 121.0),
    lambda world, _: remembering(world, -30.0),
    lambda world, _: remembering(world, 15.0, known_from_s=START_S - 30.0),
    lambda world, _: remembering(world, 15.0, known_from_s=None),
)


quiet_gateways: st.SearchStrategy[float | Missing] = st.sampled_from([NO_PICKER, 0.0])


@st.composite
def faults(draw: st.DrawFn) -> World:
    """A world that would shrink, idle and watched for long, but for one fault."""
    asked = replace(draw(policies()), paused=False, actuation=Actuation.SCALE, warm_floor=0, warm_windows=())
    sizes = st.integers(2, 6) if asked.scale_to_zero is None else st.integers(1, 3)
    counts = draw(st.booleans())
    seen = [
        FleetSeen(key=target.key, fleet=idle(target.key.version, draw(sizes), draw(st.integers(0, 3)), counts=counts))
        for target in asked.targets()
    ]
    calm = World(
        policy=asked,
        observation=Observation(
            fleets=tuple(seen),
            weights=draw(splits([version.name for version in asked.versions])),
            gateway_waiting=draw(quiet_gateways),
            demand_at_gateway=None if asked.scale_to_zero is None else 0.0,
        ),
        memory=Memory(
            at_s=START_S - 15.0,
            targets=tuple(TargetMemory(key=target.key, known_from_s=START_S - 7200.0) for target in asked.targets()),
            capacities=capacities_of(asked) if counts else (),
            courses=courses_of(asked, [0.0] * 6) if counts else (),
            idle_from_s=START_S - 7200.0,
        ),
    )
    broken = draw(st.sampled_from(BROKEN))
    return draw(st.sampled_from(FAULTS))(calm, KINDS[broken](f"{broken}.x"))


def idle(version: str, count: int, more: int, *, counts: bool) -> Fleet:
    """A fleet without work, of which a few more are asked for than are ready."""
    replicas = tuple(KINDS["idle"](f"idle.{version}.{index}") for index in range(count))
    fleet = Fleet(requested=count + (more if more > 1 else 0), replicas=replicas, gpus_per_replica=1)
    return counting(fleet) if counts else fleet
