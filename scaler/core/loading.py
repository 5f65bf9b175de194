"""How long a start takes, learned from the replicas themselves.

A start that has ended is a sample; one that is still going on says "at least this long" (censored), so the belief
rises while starts drag on and before any of them ends. Both meet in a weighted Kaplan-Meier estimate (Kaplan and
Meier, JASA 53, 1958). Only + - * / and comparisons are used: they give the same bits on every machine, which
logarithms and powers do not.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from scaler.core.memory import LoadSample
from scaler.core.model import STARTING, Fleet, Loading, Missing, Observation, Phase, Policy, Replica, TargetKey
from scaler.core.plan import LoadTime

SAMPLES_KEPT: Final = 20
"""Starts remembered for each target: at a weight of 0.87 each, the twentieth counts for 7 % of the newest."""

RECENCY: Final = 0.87
"""Each start weighs this much of the next one: the last five hold 53 % of twenty, so a new regime owns the median
after five starts, while one slow start in twenty (reference: 5 % take twice as long) leaves the p90 after three."""

PRIOR_WEIGHT: Final = 2.0
PRIOR_GONE_AT: Final = 4
"""The user's expectation weighs two starts at first and nothing once four have been measured."""

PRIOR_SHAPE: Final = (0.8, 0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.2, 1.4, 2.0)
"""Deciles of a start around its expectation: log-normal with a variation of 0.15, and a tail at twice."""

ABSURD_FACTOR: Final = 5.0
ABSURD_SHARE: Final = 0.25
"""A start five times off the median says nothing of the next one, unless a quarter of the starts do the same."""

WAIT_MOST_S: Final = 600.0
"""A wait for a node of up to this counts: a new GPU node takes about 600 s. A longer one was for GPUs that were not
there. It says nothing of the next start, and is left out whole."""

LOAD_TIME_LEAST_S: Final = 1.0
"""No start is believed to be shorter: a quantile of zero would turn holds and look-ahead off."""

DEADLINE_FACTOR: Final = 5.0
"""A start that takes five times what one in a hundred takes has failed: no start so long is believed, either."""

DEADLINE_LEAST_S: Final = 600.0
"""A registry that is slow for once, or a disk that is cold, costs minutes and is no failure."""

LATE_FACTOR: Final = 2.5
"""A start counts until it takes so many times the p90: the slow ones of the reference take twice as long, within a
variation of 0.15."""

LATE_BELOW: Final = 0.5
"""From then on it counts while it is more likely than not to be ready before a replica that is asked for now."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One start in the estimate: how long, whether it ended then (or only lasted so long), how much it weighs."""

    age_s: float
    ended: bool
    weight: float


def sample_of(key: TargetKey, replica: Replica) -> LoadSample | None:
    """The load time of a replica that has become ready, None where its marks cannot be believed.

    A replica that restarted has a ready mark of its last start, not of its first; marks after the end, or an end
    before the beginning, are a clock's.
    """
    if replica.ready_at_s is None or replica.restarts > 0 or replica.ready_at_s <= replica.created_at_s:
        return None
    marks = (replica.scheduled_at_s, replica.pulled_at_s, replica.initialised_at_s, replica.ready_at_s)
    if any(mark is not None and mark > replica.ready_at_s for mark in marks):
        return None
    spans: list[float | None] = []
    last_s = replica.created_at_s
    for mark in marks:
        spans.append(None if mark is None else max(0.0, mark - last_s))
        last_s = last_s if mark is None else max(last_s, mark)
    waiting_s, pulling_s, initialising_s, loading_s = spans
    return LoadSample(
        key=key,
        node_class=replica.node_class,
        total_s=replica.ready_at_s - replica.created_at_s,
        waiting_s=waiting_s,
        pulling_s=pulling_s,
        initialising_s=initialising_s,
        loading_s=loading_s,
    )


def learn(
    samples: Sequence[LoadSample], counted: Iterable[str], observation: Observation
) -> tuple[tuple[LoadSample, ...], tuple[str, ...]]:
    """The samples with those of replicas that are newly ready, and the names now counted.

    Names of replicas that are gone are forgotten, those of a fleet that cannot be seen are kept: it may come back.
    """
    before = frozenset(counted)
    learned = list(samples)
    names: set[str] = set()
    for seen in observation.fleets:
        if isinstance(seen.fleet, Missing):
            return tuple(samples), tuple(sorted(before))
        for replica in sorted(seen.fleet.replicas, key=_ready_order):
            if replica.ready_at_s is None:
                continue
            names.add(replica.name)
            sample = None if replica.name in before else sample_of(seen.key, replica)
            if sample is not None:
                learned.append(sample)
    return _newest_of_each(learned), tuple(sorted(names))


def _ready_order(replica: Replica) -> tuple[float, str]:
    return (replica.ready_at_s or 0.0, replica.name)


def _newest_of_each(samples: Sequence[LoadSample]) -> tuple[LoadSample, ...]:
    """The last ``SAMPLES_KEPT`` of every target, in their order."""
    left: dict[TargetKey, int] = {}
    kept: list[LoadSample] = []
    for sample in reversed(samples):
        left[sample.key] = left.get(sample.key, SAMPLES_KEPT) - 1
        if left[sample.key] >= 0:
            kept.append(sample)
    return tuple(reversed(kept))


def load_time(key: TargetKey, policy: Policy, samples: Sequence[LoadSample], fleet: Fleet, at_s: float) -> LoadTime:
    """The quantiles of created-to-ready that the next start of ``key`` is believed to follow."""
    own = [sample for sample in samples if sample.key == key]
    ended = _ended([_repeating_s(sample) for sample in own])
    lifetimes = [*ended, *_still_starting(fleet, at_s), *_prior(policy.loading, len(own))]
    return LoadTime(
        p50_s=_bounded(quantile(lifetimes, 0.5), policy.loading),
        p90_s=_bounded(quantile(lifetimes, 0.9), policy.loading),
        samples=len(own),
    )


def _bounded(quantile_s: float, loading: Loading) -> float:
    # After the budget a start counts as failed, so no start that counts takes longer.
    return min(max(quantile_s, LOAD_TIME_LEAST_S), loading.budget_s)


def with_deadline(policy: Policy, samples: Sequence[LoadSample]) -> Policy:
    """``policy`` with the time after which a start has failed: the user's word, or what the slowest target needs."""
    if not policy.loading.learns_budget:
        return policy
    budget_s = max(_deadline_s(target.key, policy.loading, samples) for target in policy.targets())
    return replace(policy, loading=replace(policy.loading, budget_s=budget_s))


def _deadline_s(key: TargetKey, loading: Loading, samples: Sequence[LoadSample]) -> float:
    """Starts under way have no say: those that hang would put their own deadline off."""
    own = [_repeating_s(sample) for sample in samples if sample.key == key]
    if len(own) < PRIOR_GONE_AT:
        return max(loading.budget_s, loading.expected_s * PRIOR_SHAPE[-1])
    return max(DEADLINE_LEAST_S, DEADLINE_FACTOR * quantile(_ended(own), 0.99))


def late(
    key: TargetKey, policy: Policy, samples: Sequence[LoadSample], fleet: Fleet, at_s: float
) -> tuple[Replica, ...]:
    """The starts of ``key`` that have a node for far longer than others took, and are not likely to end soon.

    One that waits for a node is not late, but short of room. Before the first start has ended nobody knows.
    """
    own = [sample for sample in samples if sample.key == key]
    begun = [(replica, replica.scheduled_at_s) for replica in fleet.starting()]
    ages = [(replica, at_s - since_s) for replica, since_s in begun if since_s is not None]
    if not own or not ages:
        return ()
    known = [*_ended([_with_node_s(sample) for sample in own]), *_prior(policy.loading, len(own))]
    p90_s = quantile(known, 0.9)
    lifetimes = [*known, *(Lifetime(age_s, ended=False, weight=1.0) for _, age_s in ages)]
    return tuple(
        replica
        for replica, age_s in ages
        if age_s > LATE_FACTOR * p90_s and chance(lifetimes, age_s, p90_s) < LATE_BELOW
    )


def _with_node_s(sample: LoadSample) -> float:
    return sample.total_s - (sample.waiting_s or 0.0)


def _ended(spans_s: Sequence[float]) -> list[Lifetime]:
    weight = 1.0
    lifetimes: list[Lifetime] = []
    for total_s in reversed(believable(spans_s)):
        lifetimes.append(Lifetime(total_s, ended=True, weight=weight))
        weight *= RECENCY
    return lifetimes


def _repeating_s(sample: LoadSample) -> float:
    return sample.total_s - _shortage_s(sample.waiting_s or 0.0)


def _shortage_s(waited_s: float) -> float:
    """The part of a wait for a node that was for GPUs which were not there."""
    return waited_s if waited_s > WAIT_MOST_S else 0.0


def believable(totals_s: Sequence[float]) -> list[float]:
    """The samples within a factor ``ABSURD_FACTOR`` of their median, or all when too many are outside it."""
    if not totals_s:
        return []
    middle_s = sorted(totals_s)[len(totals_s) // 2]
    inside = [total_s for total_s in totals_s if middle_s / ABSURD_FACTOR <= total_s <= middle_s * ABSURD_FACTOR]
    outside = len(totals_s) - len(inside)
    return list(totals_s) if outside > ABSURD_SHARE * len(totals_s) else inside


def _still_starting(fleet: Fleet, at_s: float) -> list[Lifetime]:
    """The starts under way. One that no node will take waits for room, and says nothing of loading."""
    return [
        Lifetime(_age_s(replica, at_s), ended=False, weight=1.0)
        for replica in fleet.replicas
        if replica.phase in STARTING and replica.unschedulable_since_s is None and replica.restarts == 0
    ]


def _age_s(replica: Replica, at_s: float) -> float:
    waited_s = (at_s if replica.scheduled_at_s is None else replica.scheduled_at_s) - replica.created_at_s
    return max(0.0, at_s - replica.created_at_s - _shortage_s(waited_s))


def _prior(loading: Loading, measured: int) -> list[Lifetime]:
    weight = PRIOR_WEIGHT * max(0.0, 1.0 - measured / PRIOR_GONE_AT) / len(PRIOR_SHAPE)
    if weight <= 0.0:
        return []
    return [Lifetime(loading.expected_s * factor, ended=True, weight=weight) for factor in PRIOR_SHAPE]


def quantile(lifetimes: Sequence[Lifetime], share: float) -> float:
    """The time by which ``share`` of the starts have ended, by the weighted Kaplan-Meier estimate.

    Where the starts under way have outlived all that ended, so that the curve does not come down far enough, it is
    the longest time seen: the answer is at least that. Seconds; at least one lifetime is needed.
    """
    for age_s, surviving in _curve(lifetimes):
        # The tolerance keeps ten deciles of 0.1 from needing an eleventh by rounding.
        if surviving <= 1.0 - share + 1e-9:
            return age_s
    return max(lifetime.age_s for lifetime in lifetimes)


def chance(lifetimes: Sequence[Lifetime], age_s: float, within_s: float) -> float:
    """The chance (0 to 1) that a start which has lasted ``age_s`` ends within ``within_s``, by the same estimate."""
    now, then = (_surviving(lifetimes, until_s) for until_s in (age_s, age_s + within_s))
    return 1.0 - then / now if now > 0.0 else 0.0


def _surviving(lifetimes: Sequence[Lifetime], until_s: float) -> float:
    """The share of starts that last longer than ``until_s``."""
    return min((surviving for age_s, surviving in _curve(lifetimes) if age_s <= until_s), default=1.0)


def _curve(lifetimes: Sequence[Lifetime]) -> Iterator[tuple[float, float]]:
    """The times at which starts ended, with the share that lasts longer than each."""
    at_risk = 0.0
    for lifetime in lifetimes:
        at_risk += lifetime.weight
    surviving = 1.0
    # At a tie the ended come first: one that is censored at that age was still at risk.
    for lifetime in sorted(lifetimes, key=lambda each: (each.age_s, not each.ended)):
        if lifetime.ended:
            surviving *= max(0.0, 1.0 - lifetime.weight / at_risk)
            yield lifetime.age_s, surviving
        at_risk = max(at_risk - lifetime.weight, 1e-12)


def phase_medians_s(key: TargetKey, samples: Sequence[LoadSample]) -> dict[Phase, float]:
    """The middle duration of each phase over the measured starts of ``key``; a phase never marked is left out."""
    own = [sample for sample in samples if sample.key == key]
    spans = {
        Phase.WAITING: [sample.waiting_s for sample in own],
        Phase.PULLING: [sample.pulling_s for sample in own],
        Phase.INITIALISING: [sample.initialising_s for sample in own],
        Phase.LOADING: [sample.loading_s for sample in own],
    }
    known = {phase: sorted(s for s in durations if s is not None) for phase, durations in spans.items()}
    return {phase: durations[len(durations) // 2] for phase, durations in known.items() if durations}
