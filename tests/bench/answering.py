"""The service alone, in a process and on a core of its own: `python -m tests.bench.answering CORE POLICIES`.

It prints its port, answers until its standard input ends, and then prints what it cost, as JSON.
"""

import asyncio
import json
import os
import sys
import time

import numpy as np
from prometheus_client import CollectorRegistry

from scaler.adapters.clock import SteadyClock
from scaler.adapters.keda.answers import Known
from scaler.adapters.keda.counts import Counts
from scaler.adapters.keda.line import Address
from scaler.adapters.keda.listening import listen
from scaler.adapters.keda.service import ExternalScaler
from scaler.runtime.board import Standings
from tests.adapters.keda.asking import AT_S, standing
from tests.bench.polling import name_of


async def serve(policies: int) -> None:
    """Answer for so many policies until standard input ends."""
    standings, counts = Standings(), Counts(CollectorRegistry())
    for number in range(policies):
        standings.put(f"models/{name_of(number)}", standing(number % 40 + 1))
    answers_s: list[float] = []

    def counted(rpc: str, code: str, took_s: float) -> None:
        counts.answered(rpc, code, took_s)
        answers_s.append(took_s)

    at = Address(host="127.0.0.1", port=0, connection_s=300.0)
    known = Known(standings=standings, unfollowed=lambda: None, fresh_as_of=lambda: AT_S)
    scaler = ExternalScaler(
        known=known, counted=counted, clock=SteadyClock(), chance=np.random.default_rng(), stream_s=at.stream_s
    )
    listening = await listen(scaler, at, None)
    sys.stdout.write(f"{listening.port}\n")
    sys.stdout.flush()
    before_s, begun_s = time.process_time(), SteadyClock().now_s()
    await asyncio.to_thread(sys.stdin.read)
    spent_s, lasted_s = time.process_time() - before_s, SteadyClock().now_s() - begun_s
    await listening.close()
    p50_s, p99_s = np.quantile(answers_s, [0.5, 0.99])
    told = {
        "p50_s": p50_s,
        "p99_s": p99_s,
        "worst_s": max(answers_s),
        "answers": len(answers_s),
        "cpu": spent_s / lasted_s,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(serve(int(sys.argv[2])))
