"""How long a tick takes to decide, and what it holds in memory: `make bench`; figures in docs/figures.md."""

import sys
import time
import tracemalloc
from dataclasses import replace

import pytest

from scaler.core.decide import decide
from scaler.core.memory import Memory
from scaler.core.model import Load, Policy, Replica, Snapshot, Work
from tests.builders import START_S, fleet, policy, seen, serving, work

POLICIES = 1000
REPLICAS = 10


def working(running: float, at_s: float) -> tuple[Replica, ...]:
    """Ready replicas with the work of chat on a mid-sized GPU, some busier than others by what they say."""
    works = [work(60.0 * running + place, 11.0 * running, 0.05 * running, 0.02) for place in range(REPLICAS)]
    replicas = serving(REPLICAS, running=running, kv_usage=0.3, at_s=at_s)
    return tuple(replace(each, load=told(each, one)) for each, one in zip(replicas, works, strict=True))


def told(replica: Replica, one: Work) -> Load:
    assert isinstance(replica.load, Load)
    return replace(replica.load, work=one)


def worlds(ticks: int) -> tuple[list[Policy], list[Snapshot]]:
    policies = [replace(policy(), name=f"models/m{number}") for number in range(POLICIES)]
    times_s = [START_S + 15.0 * tick for tick in range(ticks)]
    return policies, [
        Snapshot(
            at_s=at_s,
            models={each.name: seen(fleet(*working(20.0 + number % 7, at_s))) for number, each in enumerate(policies)},
        )
        for at_s in times_s
    ]


@pytest.mark.bench
def test_a_thousand_policies_of_ten_replicas_are_decided_within_a_second() -> None:
    policies, snapshots = worlds(21)
    memories: dict[str, Memory] = {}
    took_s = []
    for snapshot in snapshots[:-1]:
        begun_s = time.perf_counter()
        plans = decide(snapshot, memories, policies)
        took_s.append(time.perf_counter() - begun_s)
        memories = {plan.policy: plan.memory for plan in plans}
    took_s.sort()

    tracemalloc.start()
    plans = decide(snapshots[-1], memories, policies)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sys.stdout.write(
        f"\n{len(plans)} policies of {REPLICAS} replicas: median {took_s[10]:.3f} s, slowest {took_s[-1]:.3f} s; "
        f"its plans and memories hold {held / 2**20:.1f} MiB, at most {peak / 2**20:.1f} MiB while deciding\n"
    )

    assert took_s[10] < 1.0
