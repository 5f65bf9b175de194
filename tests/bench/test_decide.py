"""How long a tick takes to decide, and what it holds in memory: `make bench`; figures in docs/figures.md."""

import sys
import time
import tracemalloc
from dataclasses import replace

import pytest

from scaler.core.decide import decide
from scaler.core.model import Memory, Policy, Snapshot
from tests.builders import START_S, fleet, policy, seen, serving

POLICIES = 1000
REPLICAS = 10


def worlds(ticks: int) -> tuple[list[Policy], list[Snapshot]]:
    policies = [replace(policy(), name=f"models/m{number}") for number in range(POLICIES)]
    times_s = [START_S + 15.0 * tick for tick in range(ticks)]
    return policies, [
        Snapshot(
            at_s=at_s,
            models={
                each.name: seen(fleet(*serving(REPLICAS, running=20.0 + number % 7, at_s=at_s)))
                for number, each in enumerate(policies)
            },
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
