"""Asks as KEDA does: of each ScaledObject once in a period, its specification, then its value, then its activity.

`python -m tests.bench.polling PORT POLICIES PERIOD SECONDS` does so, and prints what it saw as JSON.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from scaler.adapters.clock import SteadyClock
from scaler.adapters.keda.contract import METRIC_NAME
from scaler.adapters.keda.external_scaler_pb2 import GetMetricsRequest, ScaledObjectRef
from tests.adapters.keda.asking import stub


def name_of(number: int) -> str:
    """The name of a policy and of its Deployment."""
    return f"m{number:04}"


@dataclass
class Polled:
    """What whoever asks saw: round trips in seconds, by call, and the codes of the answers."""

    took_s: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    late_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        p50, p99, p999 = (1000.0 * each for each in np.quantile(self.took_s, [0.5, 0.99, 0.999]))
        late = 1000.0 * float(np.quantile(self.late_s, 0.99))
        codes = ", ".join(f"{count} {code}" for code, count in sorted(self.codes.items()))
        worst = 1000.0 * max(self.took_s)
        return (
            f"{len(self.took_s)} calls ({codes}): round trip p50 {p50:.2f} ms, p99 {p99:.2f} ms, p99.9 {p999:.2f} ms, "
            f"worst {worst:.2f} ms; who asks was late by {late:.2f} ms (p99)"
        )


def polled_apart(port: int, policies: int, period_s: float, for_s: float) -> Polled:
    """What `poll` saw in a process of its own: beside whom it asks it should not wait for others' work as well."""
    words = [str(each) for each in (port, policies, period_s, for_s)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.polling", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    told = json.loads(done.stdout)
    return Polled(took_s=told["took_s"], codes=Counter(told["codes"]), late_s=told["late_s"])


async def poll(port: int, policies: int, period_s: float, for_s: float) -> Polled:
    """Ask for ``for_s`` about ``policies``, each once in ``period_s``, evenly spread, on one connection."""
    polled, clock = Polled(), SteadyClock()
    refs = [
        ScaledObjectRef(
            name=name_of(number), namespace="models", scalerMetadata={"policy": name_of(number), "version": "v1"}
        )
        for number in range(policies)
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.TaskGroup() as group:
        asked = stub(channel)
        await asked.GetMetricSpec(refs[0])
        begun_s = clock.now_s()
        for number in range(int(for_s * policies / period_s)):
            due_s = begun_s + number * period_s / policies
            await clock.wait_until(due_s)
            polled.late_s.append(clock.now_s() - due_s)
            group.create_task(_ask(asked, refs[number % policies], polled))
    return polled


async def _ask(asked: Any, ref: ScaledObjectRef, polled: Polled) -> None:
    await _timed(asked.GetMetricSpec(ref), polled)
    await _timed(asked.GetMetrics(GetMetricsRequest(scaledObjectRef=ref, metricName=METRIC_NAME)), polled)
    await _timed(asked.IsActive(ref), polled)


async def _timed(call: Any, polled: Polled) -> None:
    clock = SteadyClock()
    begun_s = clock.now_s()
    code = await call.code()
    polled.took_s.append(clock.now_s() - begun_s)
    polled.codes[code.name] += 1


if __name__ == "__main__":
    PORT, POLICIES, PERIOD_S, FOR_S = sys.argv[1:]
    seen = asyncio.run(poll(int(PORT), int(POLICIES), float(PERIOD_S), float(FOR_S)))
    sys.stdout.write(json.dumps(vars(seen)))
