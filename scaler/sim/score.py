"""What a run was worth, in the few figures that policies are compared by."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scaler.sim.replay import Change, Run
from scaler.sim.state import Fate

TIMEOUT_S: Final = 60.0
"""A first token after this is a time-out: Knative's activator gives up then (reference/loadtimes.md, 4)."""

HOUR_S: Final = 3600.0
DIGITS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The figures of one run.

    ``attained`` is the share of all requests that had their first token within the objective; one that was refused or
    lost its replica (``failed``) had not, nor had one without a first token within a minute (``timed_out``, which
    counts no failed one). The quantiles are of all requests, by nearest rank, and None where a request without any
    first token stands there.

    ``scale_events`` are the changes of the count asked for. A flip is a change that goes the other way than the change
    before it: 2, 4, 6, 5, 7 has four changes and two flips.
    """

    requests: int
    attained: float
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    ttft_p99_s: float | None
    failed: int
    timed_out: int
    replica_hours: float
    scale_events: int
    flips: int
    flips_per_hour: float

    def facts(self) -> dict[str, float | int | None]:
        """The figures by name, rounded so that a file of them is the same bytes each time."""
        return {
            name: round(value, DIGITS) if isinstance(value, float) else value for name, value in asdict(self).items()
        }


def scored(run: Run, objective_s: float) -> Score:
    """What ``run`` was worth, with ``objective_s`` for the time to first token."""
    failed = run.fates[Fate.REFUSED] + run.fates[Fate.FAILED]
    in_time = int(np.count_nonzero(run.ttft_s <= objective_s))
    answered = int(np.count_nonzero(run.ttft_s <= TIMEOUT_S))
    p50_s, p95_s, p99_s = quantiles(run.ttft_s, (0.5, 0.95, 0.99))
    turned = flips(run.changes)
    return Score(
        requests=len(run.ttft_s),
        attained=in_time / len(run.ttft_s) if len(run.ttft_s) else 1.0,
        ttft_p50_s=p50_s,
        ttft_p95_s=p95_s,
        ttft_p99_s=p99_s,
        failed=failed,
        timed_out=max(len(run.ttft_s) - answered - failed, 0),
        replica_hours=run.replica_s / HOUR_S,
        scale_events=len(run.changes) - 1,
        flips=turned,
        flips_per_hour=turned * HOUR_S / run.span_s if run.span_s else 0.0,
    )


def quantiles(ttft_s: NDArray[np.float32], shares: Sequence[float]) -> Iterator[float | None]:
    """The value that each of ``shares`` of the requests do not exceed; rising shares, None for a request without."""
    if not len(ttft_s):
        yield from [None] * len(shares)
        return
    places = [max(ceil(share * len(ttft_s)), 1) - 1 for share in shares]
    ordered = np.partition(np.where(np.isnan(ttft_s), np.float32(np.inf), ttft_s), places)
    for place in places:
        value = float(ordered[place])
        yield value if value < np.inf else None


def flips(changes: Sequence[Change]) -> int:
    """How often the count turned: grew after it had shrunk, or the other way round."""
    steps = [later.replicas - earlier.replicas for earlier, later in pairwise(changes)]
    return sum(1 for earlier, later in pairwise(steps) if earlier * later < 0)
