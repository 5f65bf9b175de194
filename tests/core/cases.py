"""Cases to put to the rules of the limits, and what a rule makes of a wish in one."""

from dataclasses import replace

from scaler.core.limits import Case, Rule
from scaler.core.memory import Shortage, TargetMemory, Wished
from scaler.core.model import Fleet, Policy, Target
from scaler.core.plan import LoadTime
from tests.builders import BEHAVIOR, START_S, key, policy, serving

MEASURED = LoadTime(p50_s=750.0, p90_s=1000.0, samples=9)
"""A hold of 300 s follows from it."""

WATCHED = TargetMemory(key=key(), known_from_s=START_S - 7200.0)
PLAIN = policy()

OVER = Shortage(began_s=START_S - 30.0, wait_s=60.0, is_over=True)
"""A shortage that began 30 s ago, and in which nothing is stuck any more."""


def case(
    requested: int = 8,
    *,
    asked: Policy = PLAIN,
    fleet: Fleet | None = None,
    memory: TargetMemory = WATCHED,
    **rest: object,
) -> Case:
    """A healthy target that has been watched for two hours, is asked for 8 and has them, and has all the traffic."""
    plain = Case(
        policy=asked,
        target=Target(key=key()),
        fleet=Fleet(requested=requested, replicas=serving(requested)) if fleet is None else fleet,
        memory=memory,
        load_time=MEASURED,
        at_s=START_S,
        share_percent=100,
        ceiling=asked.max_replicas,
        demand_known=True,
    )
    return replace(plain, **rest)  # type: ignore[arg-type]  # the rest is named by the test


def behaving(**difference: object) -> Policy:
    return policy(behavior=replace(BEHAVIOR, **difference))  # type: ignore[arg-type]  # named by the test


def after(rule: Rule, wish: int, seen: Case) -> int:
    """What ``rule`` makes of ``wish``; the wish itself where it has nothing to say."""
    ruling = rule(wish, seen)
    return wish if ruling is None else ruling.after


def because(rule: Rule, wish: int, seen: Case) -> str:
    ruling = rule(wish, seen)
    assert ruling is not None
    return ruling.because


def wished(*pairs: tuple[float, int]) -> TargetMemory:
    """A memory of wishes, as (age, replicas)."""
    ages = tuple(Wished(at_s=START_S - age_s, replicas=replicas) for age_s, replicas in pairs)
    return replace(WATCHED, wished=ages)
