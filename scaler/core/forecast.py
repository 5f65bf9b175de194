"""What demand may rise to before a replica that is asked for now is ready.

Demand is told in tokens a second, and a decoded token counts as much as it costs beside a prefilled one. The peak to
expect is the demand of the moment times the growth that the same service has shown, within one look-ahead, in so many
of the moments of its last day as it pays to be prepared for. Its own days replace a prior that many series share
(reference/workloads.md, 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Final

from scaler.core.memory import Course, Moment
from scaler.core.model import Demand, Missing, Tokens

DECODE_WEIGHT: Final = 3.5
"""Prefill tokens that a decoded one counts for: on the rows of reference/latency-model.md it takes 0.0022 + 0.006 +
1/256 of a step where a prefilled one takes 0.0040, at 1200 tokens of context."""

SIGNALS_AGE_S: Final = 45.0
"""A rate of a minute, scraped every 15 s, is of a moment 30 to 45 s ago."""

WINDOW_S: Final = 60.0
MEAN_S: Final = 600.0
"""What a request is like is told from this long: in a minute of a small service a few long ones set the mean."""

GROWTHS: Final = (
    *(1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.12, 1.14, 1.16, 1.18, 1.2, 1.22, 1.25, 1.3, 1.35, 1.4, 1.45, 1.5),
    *(1.6, 1.7, 1.8, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0),
)
"""The steps in which growth is counted: 2 % where most of it is, a third where a step more or less is all the same."""

PRIOR: Final = (
    *((1.0, 0.30), (1.04, 0.25), (1.1, 0.20), (1.16, 0.12)),
    *((1.25, 0.07), (1.4, 0.03), (2.0, 0.02), (4.0, 0.01)),
)
"""Growth within ten minutes, over public series, with a heavy tail: a rise that no history holds is one in thirty."""

BEYOND_HIGHEST: Final = 1.5
"""Growth is believed up to this much beyond the highest demand of the last day: a tenfold rise from a quiet moment says
nothing of a tenfold rise from the peak."""

PRIOR_TICKS: Final = 60.0
"""The prior weighs as much as a quarter of an hour of the service's own moments."""
DAY_S: Final = 86400.0
IDLE_WORTH_S: Final = 100.0
"""A miss costs as long as it takes to cure, a look-ahead; idling that prevents it is worth this many seconds of it.

Newsvendor: the share of rises to prepare for is miss / (miss + idle). 45 s of load time make 0.5 of it, 600 s 0.88.
Tuned on the public grid, between 70 and 150 s it hardly matters.
"""

STEADY_SHARE: Final = 0.7
"""A shrink must leave what carries this much of the rises beyond the prepared ones, too: growing back is a turn."""

COVERAGE_LEAST: Final = 0.2
COVERAGE_MOST: Final = 0.98
AFTER_A_MISS: Final = 0.02
WITHOUT_A_MISS: Final = 0.0001
"""How coverage follows what is missed: up by a fiftieth of what is left, down by a hundredth an hour and a half.

Adaptive conformal inference (Gibbs and Candes, NeurIPS 2021), for one minute in two hundred that is too slow.
"""

REFUSED_MOST: Final = 3.0
"""What is refused counts for up to this much of what is served: a client that is turned away asks again, twice or more,
and demand that is really larger shows again as soon as the first of the replicas for it are there."""

LEAST_SHARE: Final = 0.5
"""Growth is counted from half a replica's worth: one is there anyway, so growth below it costs nothing."""

TOKENS_LEAST_PER_S: Final = 1e-9
"""A flow below this is none: a demand over it has no finite size."""

GAP_S: Final = 120.0

ALIKE_MOST: Final = 1.5
"""Two minutes are alike up to this factor: a steep morning rises by 1.1 in a minute, a burst by 2 or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The demand of one role, in tokens a second: now, and at the peak to expect within ``ahead_s``.

    ``growth`` is the factor between the two, ``steady`` the larger one that a shrink must leave room for, ``ticks`` the
    weight of the service's own moments that both rest on. ``request`` is what one request is like, and ``arriving`` the
    demand over what was served of it. ``queueing_per_s`` are the requests a second that joined the queue of late.
    """

    now_per_s: float
    from_per_s: float
    growth: float
    steady: float
    ahead_s: float
    ticks: float
    request: Tokens
    arriving: float
    queueing_per_s: float


def tokens_of(flow: Tokens) -> float:
    """A flow in prefill tokens a second, decoded ones by their weight."""
    return flow.prefill_per_s + DECODE_WEIGHT * flow.decode_per_s


def watched(course: Course, demand: Demand, ahead_s: float, unit_per_s: float) -> Course:
    """``course`` with the demand of this tick, and with the growth of those moments that it ends the look-ahead of.

    ``unit_per_s`` is what one replica carries, 0 while nobody knows.
    """
    if isinstance(demand.tokens, Missing):
        return course
    if course.moments and not 0.0 <= demand.at_s - course.moments[-1].at_s <= GAP_S:
        course = replace(course, moments=(), judged_to_s=None)
    if course.moments and course.moments[-1].at_s >= demand.at_s:
        return course  # nothing was scraped since the last tick
    moments = (*course.moments, moment_of(course.moments, demand, demand.tokens, course.request))
    course = replace(course, moments=moments)
    if is_steady(course):
        course = replace(course, request=request_of(moments, demand.tokens.cache_share))
    return _judged(course, ahead_s, unit_per_s)


def moment_of(before: Sequence[Moment], demand: Demand, flow: Tokens, request: Tokens | None) -> Moment:
    """What arrives: what is served and refused, and by how much the queue grows, told by what ``request`` is like."""
    served = tokens_of(flow)
    told = Moment(
        at_s=demand.at_s,
        tokens_per_s=served,
        served_per_s=served,
        finished_per_s=flow.requests_per_s,
        prefill_per_s=flow.prefill_per_s,
        decode_per_s=flow.decode_per_s,
        running=demand.running,
        waiting=demand.waiting,
    )
    earlier = _minute_before(before, demand.at_s)
    each = tokens_of(request or request_of((*before, told), flow.cache_share))
    refused = min(demand.refused_per_s * each, REFUSED_MOST * served) if demand.refused_per_s > 0.0 else 0.0
    if earlier is None:
        return replace(told, tokens_per_s=served + refused)
    queued_per_s = (demand.waiting - earlier.waiting) / (demand.at_s - earlier.at_s)
    return replace(told, tokens_per_s=max(served + refused + queued_per_s * each, 0.0))


def _minute_before(moments: Sequence[Moment], at_s: float) -> Moment | None:
    """The last moment that is a window old, or the oldest there is."""
    old = [moment for moment in moments if moment.at_s <= at_s - WINDOW_S + 1.0]
    return old[-1] if old else (moments[0] if moments else None)


def is_steady(course: Course) -> bool:
    """Whether the last minute was like the one before it, so that means over it say what each second was like.

    A replica that idled for three quarters of a minute and then took a burst has the rates of a light load and the
    latency of a heavy one: read as one moment, it would be four times as slow as it is.
    """
    if not course.moments:
        return False
    now, earlier = course.moments[-1], _minute_before(course.moments, course.moments[-1].at_s)
    if earlier is None or earlier.at_s >= now.at_s or now.served_per_s <= 0.0:
        return False
    return now.served_per_s <= ALIKE_MOST * earlier.served_per_s <= ALIKE_MOST * ALIKE_MOST * now.served_per_s


def queue_stood(course: Course) -> bool:
    """Whether requests waited at every scrape of the last minute: the first seconds of a burst show no limit."""
    if not course.moments:
        return False
    now_s = course.moments[-1].at_s
    recent = [moment.waiting for moment in course.moments if moment.at_s >= now_s - WINDOW_S]
    return len(recent) > 1 and min(recent) >= 1.0


def request_of(moments: Sequence[Moment], cache_share: float) -> Tokens:
    """One request, as they were on average over the last minutes; zeros where none has come.

    What was worked on is divided by what has finished and what runs now beyond what ran then: where traffic begins,
    tokens are counted long before the first request ends.
    """
    last_s = moments[-1].at_s if moments else 0.0
    recent = [moment for moment in moments if moment.at_s > last_s - MEAN_S]
    finished = fsum(moment.finished_per_s for moment in recent)
    if not recent:
        return Tokens(prefill_per_s=0.0, decode_per_s=0.0, requests_per_s=0.0, cache_share=cache_share)
    # In requests a second of one moment: the rates are of windows that are as long as they are many.
    span_s = max(recent[-1].at_s - recent[0].at_s, WINDOW_S)
    begun = finished + max(0.0, recent[-1].running - recent[0].running) * len(recent) / span_s
    if begun <= 0.0:
        return Tokens(prefill_per_s=0.0, decode_per_s=0.0, requests_per_s=0.0, cache_share=cache_share)
    return Tokens(
        prefill_per_s=fsum(moment.prefill_per_s for moment in recent) / begun,
        decode_per_s=fsum(moment.decode_per_s for moment in recent) / begun,
        requests_per_s=1.0,
        cache_share=cache_share,
    )


def _judged(course: Course, ahead_s: float, unit_per_s: float) -> Course:
    """Count the growth after every moment whose look-ahead is over, and let go of those that nobody needs any more."""
    now_s = course.moments[-1].at_s
    ripe = [
        moment
        for moment in course.moments
        if moment.at_s + ahead_s <= now_s and (course.judged_to_s is None or moment.at_s > course.judged_to_s)
    ]
    growth = list(course.growth) or [0.0] * len(GROWTHS)
    kept = 1.0
    if len(course.moments) > 1:
        kept = max(0.0, 1.0 - (now_s - course.moments[-2].at_s) / DAY_S)
        growth = [weight * kept for weight in growth]
    for moment in ripe:
        after = [later.tokens_per_s for later in course.moments if moment.at_s < later.at_s <= moment.at_s + ahead_s]
        growth[_step(max(after) / max(moment.tokens_per_s, LEAST_SHARE * unit_per_s, TOKENS_LEAST_PER_S))] += 1.0
    needed_s = now_s - max(ahead_s, MEAN_S)
    highest = max(course.moments[-1].tokens_per_s, course.highest_per_s * (kept if len(course.moments) > 1 else 1.0))
    return replace(
        course,
        highest_per_s=highest,
        moments=tuple(moment for moment in course.moments if moment.at_s >= needed_s),
        growth=tuple(growth),
        judged_to_s=ripe[-1].at_s if ripe else course.judged_to_s,
    )


def _step(growth: float) -> int:
    """The first step of `GROWTHS` that is not below ``growth``, or the last."""
    for place, step in enumerate(GROWTHS):
        if growth <= step:
            return place
    return len(GROWTHS) - 1


def growth_covered(course: Course, share: float) -> float:
    """The growth within a look-ahead that ``share`` of the moments, and of the prior, did not exceed."""
    weights = list(course.growth) or [0.0] * len(GROWTHS)
    for growth, part in PRIOR:
        weights[_step(growth)] += part * PRIOR_TICKS
    left = fsum(weights) * (1.0 - share)
    for place in reversed(range(len(GROWTHS))):
        left -= weights[place]
        if left < 0.0:
            return GROWTHS[place]
    return GROWTHS[0]


def forecast(course: Course, demand: Demand, ahead_s: float, unit_per_s: float) -> Forecast | Missing:
    """The peak of the next ``ahead_s``; Missing where the engines count no tokens."""
    if isinstance(demand.tokens, Missing):
        return demand.tokens
    if not course.moments:
        return Missing(why="no tick has seen its demand yet")
    now = course.moments[-1]
    coverage = coverage_of(course, ahead_s)
    growth = growth_covered(course, coverage)
    from_per_s = max(now.tokens_per_s, LEAST_SHARE * unit_per_s, TOKENS_LEAST_PER_S)
    most = max(BEYOND_HIGHEST * course.highest_per_s / from_per_s, 1.0)
    return Forecast(
        now_per_s=now.tokens_per_s,
        from_per_s=from_per_s,
        growth=min(growth, most),
        steady=min(growth_covered(course, coverage + STEADY_SHARE * (1.0 - coverage)), most),
        ahead_s=ahead_s,
        ticks=fsum(course.growth),
        request=course.request or request_of(course.moments, demand.tokens.cache_share),
        arriving=now.tokens_per_s / now.served_per_s if now.served_per_s > TOKENS_LEAST_PER_S else 1.0,
        queueing_per_s=_queueing_per_s(course.moments),
    )


def _queueing_per_s(moments: Sequence[Moment]) -> float:
    if len(moments) < 2:  # noqa: PLR2004 - a difference takes two
        return 0.0
    before, now = moments[-2:]
    return max(0.0, now.waiting - before.waiting) / (now.at_s - before.at_s)


def coverage_of(course: Course, ahead_s: float) -> float:
    """The share of moments whose growth is prepared for."""
    return ahead_s / (ahead_s + IDLE_WORTH_S) if course.coverage is None else course.coverage


def adapted(course: Course, ahead_s: float, *, missed: bool) -> Course:
    """``course`` with the coverage that one more moment teaches, in which the objective was missed or not."""
    coverage = coverage_of(course, ahead_s)
    if missed:
        return replace(course, coverage=coverage + AFTER_A_MISS * max(0.0, COVERAGE_MOST - coverage))
    return replace(course, coverage=max(COVERAGE_LEAST, coverage - WITHOUT_A_MISS))
