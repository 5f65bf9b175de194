"""What arrives: told from what was served, from how the queues grew, and from what one request is like.

A served rate is no demand: at saturation it is what the replicas can do. Demand is told in tokens a second, and a
decoded token counts as much as it costs beside a prefilled one.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import fsum
from typing import Final

from scaler.core.demand import WINDOW_S
from scaler.core.memory import Course, Moment
from scaler.core.model import Demand, Tokens

DECODE_WEIGHT: Final = 3.5
"""Prefill tokens that a decoded one counts for: on the rows of reference/latency-model.md it takes 0.0022 + 0.006 +
1/256 of a step where a prefilled one takes 0.0040, at 1200 tokens of context."""

MEAN_S: Final = 600.0
"""What a request is like is told from this long: in a minute of a small service a few long ones set the mean."""

REFUSED_MOST: Final = 3.0
"""What is refused counts for up to this much of what is served: a client that is turned away asks again, twice or more,
and demand that is really larger shows again as soon as the first of the replicas for it are there."""

ALIKE_MOST: Final = 1.5
"""Two minutes are alike up to this factor: a steep morning rises by 1.1 in a minute, a burst by 2 or more."""


def tokens_of(flow: Tokens) -> float:
    """A flow in prefill tokens a second, decoded ones by their weight."""
    return flow.prefill_per_s + DECODE_WEIGHT * flow.decode_per_s


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
