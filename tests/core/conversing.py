"""Replicas that serve conversations at a share of what each carries, and the work that a tick sees of them."""

from collections.abc import Sequence
from dataclasses import replace

from scaler.core.memory import CapacityMemory, Course, Memory, TargetMemory
from scaler.core.model import Fleet, Observation, Policy, Role, TargetKey
from scaler.core.need import Asked, WorkSeen, work_of
from scaler.core.plan import LoadTime
from scaler.sim.latency import LLAMA_8B_H100
from tests.builders import START_S, fleet, key, policy, ready, seen
from tests.core.engines import CONVERSATION, TICK_S, Row, after, rounds

SERVE = Role.SERVE.value
CHAT = Row(engine=LLAMA_8B_H100, mix=CONVERSATION)
SLOW = replace(CHAT, slow=2.0)
LOAD_TIME = LoadTime(p50_s=300.0, p90_s=400.0, samples=5)


def capacity(row: Row = CHAT, name: str = "v1", node_class: str = "H100", ticks: int = 40) -> CapacityMemory:
    """What is known of a version after minutes at several levels."""
    new = CapacityMemory(key=key(name), node_class=node_class)
    return replace(after(new, row, rounds(ticks, 0.2, 0.4, 0.6, 0.8)), at_s=None)


def busy(count: int, share: float, row: Row = CHAT, waiting: float = 0.0, at_s: float = START_S) -> Fleet:
    """So many replicas at a share of what each carries, with so many requests in each one's queue."""
    minute = replace(row.minute(share, at_s), waiting=waiting)
    return fleet(*(ready(f"r{index}", at_s=at_s, load=minute) for index in range(count)))


def work_seen(
    observation: Observation,
    *capacities: CapacityMemory,
    asked: Policy | None = None,
    courses: Sequence[Course] = (),
    targets: Sequence[TargetMemory] = (),
) -> WorkSeen:
    asked = asked or policy()
    load_times = {target.key: LOAD_TIME for target in asked.targets()}
    memory = Memory(at_s=START_S - TICK_S, courses=tuple(courses), capacities=capacities, targets=tuple(targets))
    return work_of(question(asked, observation, memory, load_times, START_S))


def question(
    asked: Policy, observation: Observation, memory: Memory, load_times: dict[TargetKey, LoadTime], at_s: float
) -> Asked:
    """What is asked of one tick, where no replica is slower than its like."""
    return Asked(
        policy=asked,
        observation=observation,
        memory=memory,
        capacities=memory.capacities,
        load_times=load_times,
        slow={},
        at_s=at_s,
    )


def refusing(count: int, share: float, refused_per_s: float, at_s: float = START_S) -> Observation:
    """Replicas at a share of what they carry, and a gateway that turns so many requests away."""
    return replace(seen(busy(count, share, at_s=at_s)), gateway_waiting=0.0, gateway_refused_per_s=refused_per_s)
