"""The step load that others published figures for, told as they told it: as of the end of its ten minutes.

Qwen3-32B on H100, 4000 tokens in and 1000 out, 20 requests a second for 600 s, a start of about 110 s
(reference/peers.md, 11). Up to 8 replicas, as the guide of one of the published arms has it. Twenty a second are what
fourteen carry, so nobody can be in time: what differs is how soon there are eight.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from scaler.sim.compare.cells import STEP, STEP_LASTS_S, Cell, fleet_of, traffic
from scaler.sim.compare.contenders import OURS, PEERS, STATIC, Contender, scaler_of
from scaler.sim.replay import Change, Run, replayed

STEP_CELL: Final = Cell(workload=STEP, pool=2.0, load_s=110.0, engine="qwen3-32b/H100")
SEED: Final = 1
CONSTANT: Final = 2.0

PUBLISHED: Final = (
    ("WVA V1", 1.73, 98.0, "4184 errors"),
    ("HPA", 2.30, 556.0, ""),
    ("KEDA + EPP", 7.4, 507.0, ""),
    ("static 2", 2.0, 555.0, ""),
)
"""Who, replicas on average, P99 of the time to first token in seconds, and what else was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What a policy made of the ten minutes: ``p99_s`` is of the requests that had their first token within them."""

    policy: str
    replicas: float
    answered: float
    p99_s: float


def stepped() -> Iterator[Stepped]:
    """Ours, every peer as its documents ship it, and two replicas."""
    contenders = [Contender(name=OURS), *(Contender(name=name) for name in PEERS)]
    for contender in (*contenders, Contender(name=STATIC, threshold=CONSTANT)):
        run = replayed(traffic(STEP_CELL), fleet_of(STEP_CELL, SEED), scaler_of(contender, STEP_CELL, SEED), SEED)
        yield told(contender.name, run)


def told(policy: str, run: Run) -> Stepped:
    """``run`` as of the end of the step."""
    arrival_s = np.concatenate([piece.arrival_s for piece in traffic(STEP_CELL).pieces(SEED)])
    in_time_s = run.ttft_s[arrival_s + run.ttft_s <= STEP_LASTS_S]  # NaN is not
    return Stepped(
        policy=policy,
        replicas=asked_on_average(run.changes),
        answered=len(in_time_s) / len(run.ttft_s),
        p99_s=float(np.quantile(in_time_s, 0.99)) if len(in_time_s) else float("nan"),
    )


def asked_on_average(changes: tuple[Change, ...]) -> float:
    """The replicas asked for, on average over the step."""
    ended = (*(change for change in changes if change.at_s < STEP_LASTS_S), Change(at_s=STEP_LASTS_S, replicas=0))
    return sum(now.replicas * (later.at_s - now.at_s) for now, later in pairwise(ended)) / STEP_LASTS_S
