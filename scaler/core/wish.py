"""How many replicas the demand needs, before any limit is applied.

Where the engines count tokens, the peak to expect is divided by what a replica was learned to carry, and the queue is
worked off on top. Where they do not, a safe number of requests and a safe share of the KV cache for each replica have
to do.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

from scaler.core.capacity import Belief
from scaler.core.demand import WINDOW_S
from scaler.core.forecast import Forecast
from scaler.core.model import WHOLE_PERCENT, Demand, Fleet, Missing, Policy, Tokens
from scaler.core.plan import LoadTime, Ruling

SAFE_REQUESTS: Final = 24.0
"""Requests in flight that one replica carries: chat held its objective at 24 to 90 in the trial on public traces, and
this is the safe end. Code completion needed 4 to 8, which this wish cannot know."""

SAFE_KV_USAGE: Final = 0.7
"""KV cache share that one replica may use: the gauge is a point in time, and misses what was preempted before it."""

OWN_MOST: Final = 1e6
"""More replicas' worth of work than this is a broken query: a policy may ask for 10,000 at most."""


def replicas_needed(demand: Demand) -> Ruling:
    """The replicas of one role, over all versions, that carry ``demand`` at a safe level; at least one.

    Waiting requests will want as much KV cache as the running ones use on average; less than one is no average.
    """
    in_flight = demand.running + demand.waiting
    kv_replicas = demand.kv_replicas * (in_flight / demand.running if demand.running >= 1.0 else 1.0)
    by_requests = in_flight / SAFE_REQUESTS
    by_kv = kv_replicas / SAFE_KV_USAGE
    needed = max(1, ceil(max(by_requests, by_kv)))
    if by_requests >= by_kv:
        requests = f"{demand.running:.0f} running and {demand.waiting:.0f} waiting requests"
        because = f"{requests} at {SAFE_REQUESTS:.0f} to a replica"
    else:
        because = (
            f"{kv_replicas:.2f} KV caches' worth of tokens, counting what waits, at {SAFE_KV_USAGE:.0%} of a cache"
        )
    return Ruling(
        rule="need",
        before=0,
        after=needed,
        because=because,
        facts={"running": demand.running, "waiting": demand.waiting, "kv_replicas": demand.kv_replicas},
    )


TTFT_S: Final = 2.0
"""The time to first token that a policy without an objective of its own is sized for."""

TAIL: Final = 2.0
"""Replicas that must be idle on average, times the objective, over the work of a request, so that waits stay below it.

In heavy traffic a wait beyond T has the chance exp(-2 * idle * T / (work * (1 + cv^2))) (Kingman, 1961; Koellerstroem,
1974, for many servers). For 13 % at a coefficient of variation of 1 that is 2: the growth that is prepared for is idle
too, and with 5, which is 0.7 %, the public grid costs 3 % more and attains no more.
"""

DRAIN_LOAD_TIMES: Final = 0.5
DRAIN_LEAST_S: Final = 60.0
"""A queue is to be worked off within this much of a load time after the replicas for it are there: they live a load
time and a hold anyway."""


ROUNDING: Final = 0.1
"""A tenth of a replica is not worth a whole one: it is the error of the belief. At 0.2 a third of the public grid is
missed."""


LATE_QUEUE_SHARE: Final = 0.1
"""A queue of this much of the objective is one: first tokens that are late without any are so for their own prompts,
and no replica helps. At rest one or two wait, 0.1 s of work each, where 0.1 of 2 s at eight replicas are sixteen."""

NOISE_SPREADS: Final = 2.25
NOISE_MOST: Final = 0.3
"""A shrink leaves so many spreads of a minute's work more, or constant load would turn at its whole numbers.

A minute of n requests, whose work varies by as much as it is, varies by sqrt(2 / n): worked, 8 requests a second are
480, so a minute is off by 6.5 %, and a shrink leaves 15 %. Without it constant load turned up to 11 times in six hours.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one target's need is told from: the demand and its forecast for the role, the belief for the target.

    ``served`` are the replicas that were ready since the last scrape, on average. ``slow`` is what the ready replicas
    lack of the speed of their like, in replicas. ``queue_moves`` says that requests wait where any replica can take
    them.
    """

    demand: Demand
    flow: Tokens
    ahead: Forecast
    belief: Belief
    load_time: LoadTime
    policy: Policy
    ready: int
    starting: int
    served: float
    slow: float = 0.0
    queue_moves: bool = False

    @property
    def limit_s(self) -> float:
        """The time to first token that is kept."""
        objective = self.policy.time_to_first_token
        return TTFT_S if objective is None else objective.limit_s

    @property
    def work_now(self) -> float:
        """The replicas that what arrives now keeps busy."""
        return self._replicas(self.flow) * self.ahead.arriving

    def work_after(self, growth: float) -> float:
        """The replicas that demand keeps busy which has grown by this, half a replica's worth at least."""
        if self.ahead.now_per_s <= 0.0:
            return 0.0
        return self.work_now * self.ahead.from_per_s / self.ahead.now_per_s * growth

    @property
    def request_s(self) -> float:
        """The time that one request takes of a replica."""
        return self._replicas(self.ahead.request)

    @property
    def idle(self) -> float:
        """The replicas that must be idle on average, so that requests which come close together are in time."""
        alone_s = self.ahead.request.prefill_per_s * self.belief.prefill_s
        return TAIL * self.request_s / max(self.limit_s - alone_s, self.limit_s / 4.0)

    @property
    def noise(self) -> float:
        """The share by which a minute's work may be off, by chance alone."""
        requests = self.flow.requests_per_s * WINDOW_S
        return min(NOISE_SPREADS * sqrt(2.0 / requests), NOISE_MOST) if requests > 0.0 else NOISE_MOST

    @property
    def queued_s(self) -> float:
        """The replica-seconds of work in the queue, 0 for one that is gone within the objective."""
        queued_s = self.demand.waiting * self.request_s
        return queued_s if queued_s > self.limit_s * self.ready else 0.0

    def is_queue(self, waiting: float) -> bool:
        """Whether so many that wait take more than a tenth of the objective: less is chance."""
        return waiting * self.request_s > LATE_QUEUE_SHARE * self.limit_s * max(self.ready, 1)

    @property
    def drain(self) -> float:
        """The replicas on top of the peak's that work off what will be queued when they are there."""
        if self.queued_s <= 0.0:
            return 0.0
        behind = self.work_now - self.ready - self.starting / 2.0
        left_s = self.queued_s + behind * self.load_time.p50_s
        drain = max(left_s, 0.0) / max(DRAIN_LEAST_S, DRAIN_LOAD_TIMES * self.load_time.p50_s)
        # What an engine has queued stays there: new replicas only take over what arrives, so that those which are
        # ready work on nothing but their queues. Worked: one replica with 600 s of work queued needs one more, not ten.
        return drain if self.queue_moves else min(drain, float(self.ready))

    @property
    def instant(self) -> int:
        """The replicas that would have what arrives now in time, with no word on what comes next."""
        needed = self.work_now + self.idle
        if self.queued_s > 0.0 and self.ahead.queueing_per_s > 0.0:
            # All that were ready since the last scrape were busy, and the queue grew by what they could not take.
            needed = max(needed, self.served + self.ahead.queueing_per_s * self.request_s)
        return min(max(1, _whole(needed)), self.policy.max_replicas)

    def needed(self, growth: float) -> int:
        """The replicas that carry what grows by this, and drain the queue; at least one."""
        return max(1, _whole(self.work_after(growth) + self.idle + self.drain + self.slow))

    def _replicas(self, flow: Tokens) -> float:
        objective = self.policy.inter_token_latency
        return self.belief.replicas(flow, None if objective is None else objective.limit_s)


def _whole(replicas: float) -> int:
    # Rates that are next to nothing can make a request of any size: that is no number of replicas.
    return ceil(replicas - ROUNDING) if replicas <= OWN_MOST else int(OWN_MOST)


def replicas_ahead(outlook: Outlook) -> Ruling:
    """The replicas of one target that carry the whole peak of its role, and drain the queue; at least one."""
    ahead = outlook.ahead
    told = "which by the last five minutes may grow" if ahead.is_calm else "which may grow"
    because = (
        f"{outlook.work_now:.2f} replicas' worth of work, {told} {ahead.growth:.2f} times within "
        f"{ahead.ahead_s:.0f} s, and {outlook.idle:.2f} idle to be in time"
    )
    if outlook.drain > 0.0:
        because += f", and {outlook.drain:.2f} to work off {outlook.demand.waiting:.0f} that wait"
    if outlook.demand.refused_per_s > 0.0:
        because += f"; {outlook.demand.refused_per_s:.1f} requests a second are refused"
    if outlook.slow > 0.0:
        because += f", and {outlook.slow:.2f} in place of what slow ones lack"
    needed = outlook.needed(ahead.growth)
    return Ruling(
        rule="need",
        before=0,
        after=needed,
        because=because,
        facts={
            "running": outlook.demand.running,
            "waiting": outlook.demand.waiting,
            "refused_per_s": outlook.demand.refused_per_s,
            "work_replicas": outlook.work_now,
            "growth": ahead.growth,
            "ahead_s": ahead.ahead_s,
            "idle_replicas": outlook.idle,
            "drain_replicas": outlook.drain,
            "slow_replicas": outlook.slow,
            "steady_replicas": max(needed, outlook.needed(ahead.steady * (1.0 + outlook.noise))),
        },
    )


def replicas_told(own_replicas: float | Missing) -> Ruling | Missing:
    """The replicas that a policy's own queries ask for, at least one; Missing where their answer is absurd."""
    if isinstance(own_replicas, Missing):
        return own_replicas
    # Written so that NaN, which compares false with everything, is refused as well.
    if not 0.0 <= own_replicas <= OWN_MOST:
        return Missing(why=f"the policy's own queries give an absurd {own_replicas:g} replicas of work")
    return Ruling(
        rule="need",
        before=0,
        after=max(1, ceil(own_replicas)),
        because=f"{own_replicas:.2f} replicas' worth of work by the policy's own queries",
        facts={"own_replicas": own_replicas},
    )


def wish_of(need: Ruling | Missing, share_percent: int, fleet: Fleet, late: int = 0) -> Ruling:
    """What a target should have for its share of the need, seen from what it has.

    On the way up, what is asked for counts, ready or not: a replica that is starting is not asked for twice, unless it
    is one of the ``late`` starts that may never end. Each of those is replaced once, and all of them together by no
    more than there are replicas missing. On the way down only ready ones count: one that is starting carries nothing
    yet, so nothing may leave in its favour.
    """
    if isinstance(need, Missing):
        return Ruling(rule="keep", before=fleet.requested, after=fleet.requested, because=need.why, facts={})
    wanted = ceil(need.after * share_percent / WHOLE_PERCENT)
    ready, starting, asleep = len(fleet.ready()), len(fleet.starting()), len(fleet.asleep())
    instead = min(late, max(wanted - ready, 0))
    kept = wanted > 0 and ready <= wanted <= fleet.requested - asleep - instead
    because = f"{wanted} {_replicas(wanted)} for {need.because}"
    if share_percent < WHOLE_PERCENT:
        because += f", for {share_percent} % of the traffic"
    if kept and wanted < fleet.requested:
        because += f"; of the {fleet.requested} asked for, {ready} {_are(ready)} ready, so none may go"
    if instead:
        because += f"; {instead} more, for {late} that {_are(late)} starting far longer than usual"
    if asleep:
        because += f"; {asleep} asleep, without work"
    # Sleepers are somebody's own: those that carry nothing are counted on top, and stay while the version serves.
    besides = asleep if wanted > 0 else 0
    return Ruling(
        rule="wish",
        before=fleet.requested,
        after=fleet.requested if kept else wanted + instead + besides,
        because=because,
        facts={
            **need.facts,
            "wanted": wanted,
            "ready": ready,
            "starting": starting,
            "late": late,
            "asleep": asleep,
            "share_percent": share_percent,
        },
    )


def _replicas(count: int) -> str:
    return "replica" if count == 1 else "replicas"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
