"""What demand may rise to before a replica that is asked for now is ready.

The peak to expect is the demand of the moment times the growth that the same service has shown, within one look-ahead,
in so many of the moments of its last day as it pays to be prepared for. Its own days replace a prior that many series
share (reference/workloads.md, 4). Where demand is restless growth is told over a calmer base, if that would have cost
less.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import fsum
from typing import Final

from scaler.core.arrivals import MEAN_S, is_steady, moment_of, request_of, tokens_of
from scaler.core.memory import DAY_S, GAP_S, Course, Moment
from scaler.core.model import Demand, Missing, Tokens

MINUTE_S: Final = 60.0

SIGNALS_AGE_S: Final = 45.0
"""A rate of a minute, scraped every 15 s, is of a moment 30 to 45 s ago."""

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

BEYOND_HIGHEST: Final = 1.2
"""Growth is believed up to this much beyond the highest demand of the last day, and once more while that day is young:
a tenfold rise from a quiet moment says nothing of a tenfold rise from the peak."""

PRIOR_S: Final = 900.0
"""The prior weighs as much as a quarter of an hour of the service's own moments."""

IDLE_WORTH_S: Final = 140.0
"""A miss costs as long as it takes to cure, a look-ahead; idling that prevents it is worth this many seconds of it.

Newsvendor: the share of rises to prepare for is miss / (miss + idle). 45 s of load time make 0.4 of it, 600 s 0.84.
"""

STEADY_SHARE: Final = 0.7
"""A shrink must leave what carries this much of the rises beyond the prepared ones, too: growing back is a turn."""

TRENDS: Final = (0.97, 1.04, 1.10, 1.20)
TREND_S: Final = 240.0
"""How demand has moved within four minutes: it fell, stayed, or rose by up to a tenth, a fifth or more."""

TREND_SHARE_S: Final = 900.0
"""In each trend what all moments were like weighs a quarter of an hour, as the prior does: a steep rise is rare."""

TRENDS_FROM: Final = 0.95
"""From this coverage on trends count. What is still missed then is not missed at random, but in rises that go on: more
coverage of all moments holds more ready all day, and is late in those. Below it they cost up to 2 % of the public grid,
since a wish that varies more is held at its highest."""

COVERAGE_LEAST: Final = 0.2
COVERAGE_MOST: Final = 0.98
AFTER_A_MISS_S: Final = 60.0
WITHOUT_A_MISS: Final = 2e-6
"""How coverage follows what is missed: a minute of being late halves what is left, a day in time takes back 0.17.

Adaptive conformal inference (Gibbs and Candes, NeurIPS 2021), for one minute in two hundred, is too slow for this: its
step that is right on average is lost on a rise that comes three times a day.
"""

CALM_S: Final = 300.0
CALM_SHARE: Final = 0.5
"""The calm base is by this share the mean of the last five minutes, and for the rest the demand of the moment. It is
not used to look ahead for less: there it lags by more than it calms."""

CALMER_BY: Final = 0.9
"""Growth is told over the calm base where that would have cost so much of what it costs over the plain one: no more."""

LEAST_SHARE: Final = 0.5
"""Growth is counted from half a replica's worth: one is there anyway, so growth below it costs nothing."""

TOKENS_LEAST_PER_S: Final = 1e-9
"""A flow below this is none: a demand over it has no finite size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The demand of one role, in tokens a second: now, and at the peak to expect within ``ahead_s``.

    The peak is ``growth`` times ``from_per_s``, which is the demand now, and half a replica's worth at least.
    ``steady`` is the larger growth that a shrink must leave room for; ``is_calm`` says that both were told over the
    calm base, and are less or more by what it differs from now. ``request`` is what one request is like, and
    ``arriving`` the demand over what was served of it. ``queueing_per_s`` are the requests a second that joined the
    queue of late.
    """

    now_per_s: float
    from_per_s: float
    growth: float
    steady: float
    is_calm: bool
    ahead_s: float
    request: Tokens
    arriving: float
    queueing_per_s: float


def watched(course: Course, demand: Demand, ahead_s: float, unit_per_s: float) -> Course:
    """``course`` with the demand of this tick, and with the growth of those moments that it ends the look-ahead of.

    ``unit_per_s`` is what one replica carries, 0 while nobody knows.
    """
    if isinstance(demand.tokens, Missing):
        return course
    if course.moments and abs(demand.at_s - course.moments[-1].at_s) > GAP_S:
        course = replace(course, moments=(), judged_to_s=None)
    if course.moments and course.moments[-1].at_s >= demand.at_s:
        # Nothing was scraped since the last tick, or a replica has joined whose only sample is older than all others.
        return course
    moments = (*course.moments, moment_of(course.moments, demand, demand.tokens, course.request))
    course = replace(course, moments=moments)
    if is_steady(course):
        course = replace(course, request=request_of(moments, demand.tokens.cache_share))
    return _judged(course, ahead_s, max(LEAST_SHARE * unit_per_s, TOKENS_LEAST_PER_S))


def _judged(course: Course, ahead_s: float, least_per_s: float) -> Course:
    """Learn from what followed on every moment whose look-ahead is over, and let go of those that nobody needs."""
    now_s = course.moments[-1].at_s
    kept = max(0.0, 1.0 - (now_s - course.moments[-2].at_s) / DAY_S) if len(course.moments) > 1 else 1.0
    counts = _Counts(course, ahead_s, least_per_s, kept)
    judged_to_s = course.judged_to_s
    for moment, after in pairwise(course.moments):
        if moment.at_s + ahead_s > now_s or (course.judged_to_s is not None and moment.at_s <= course.judged_to_s):
            continue
        judged_to_s = moment.at_s
        # Where nobody looked within its look-ahead (one of 75 s, and two scrapes that are 90 s apart), nothing is told.
        if after.at_s <= moment.at_s + ahead_s:
            counts.count(moment, after.at_s - moment.at_s)
    seen_from_s = now_s - max(ahead_s + TREND_S + MINUTE_S, MEAN_S)
    return replace(
        course,
        highest_per_s=max(course.moments[-1].tokens_per_s, course.highest_per_s * kept),
        moments=tuple(moment for moment in course.moments if moment.at_s >= seen_from_s),
        growth=tuple(counts.growth),
        trends=tuple(tuple(each) for each in counts.trends),
        calm_growth=tuple(counts.calm_growth),
        losses=(counts.losses[0], counts.losses[1]),
        judged_to_s=judged_to_s,
    )


class _Counts:
    """What was counted of the last day, of which ``kept`` is left, with what more moments tell."""

    def __init__(self, course: Course, ahead_s: float, least_per_s: float, kept: float) -> None:
        self._moments, self._ahead_s, self._least_per_s = course.moments, ahead_s, least_per_s
        self._coverage = coverage_of(course, ahead_s)
        self._covered = (growth_covered(course, self._coverage), calm_covered(course, self._coverage))
        self.growth = [seconds * kept for seconds in course.growth] or [0.0] * len(GROWTHS)
        self.trends = [[seconds * kept for seconds in each] for each in course.trends] or _no_trends()
        self.calm_growth = [seconds * kept for seconds in course.calm_growth] or [0.0] * len(GROWTHS)
        self.losses = [loss * kept for loss in course.losses]

    def count(self, moment: Moment, lasts_s: float) -> None:
        """Take in what followed on ``moment``, which weighs ``lasts_s``."""
        peak_per_s = max(
            each.tokens_per_s for each in self._moments if moment.at_s < each.at_s <= moment.at_s + self._ahead_s
        )
        # A day without work says nothing of how work grows.
        if peak_per_s <= self._least_per_s:
            return
        plain_per_s = max(moment.tokens_per_s, self._least_per_s)
        calm_per_s = max(calm_of(self._moments, moment), self._least_per_s)
        step = step_of(peak_per_s / plain_per_s)
        self.growth[step] += lasts_s
        self.calm_growth[step_of(peak_per_s / calm_per_s)] += lasts_s
        trend = _trend(self._moments, moment.at_s)
        if trend is not None:
            self.trends[trend][step] += lasts_s
        for place, base_per_s in enumerate((plain_per_s, calm_per_s)):
            prepared_per_s = max(base_per_s * self._covered[place], plain_per_s)
            self.losses[place] += self._loss(peak_per_s - prepared_per_s) * lasts_s

    def _loss(self, missing_per_s: float) -> float:
        """What it costs to lack so much, or to idle with it: the newsvendor's loss at the coverage of the time."""
        return missing_per_s * (self._coverage if missing_per_s > 0.0 else self._coverage - 1.0)


def calm_of(moments: Sequence[Moment], at: Moment) -> float:
    """The calm base of growth at one of ``moments``: its demand, moved towards the mean of five minutes."""
    recent = [moment.tokens_per_s for moment in moments if at.at_s - CALM_S < moment.at_s <= at.at_s]
    return (1.0 - CALM_SHARE) * at.tokens_per_s + CALM_SHARE * fsum(recent) / len(recent)


def _no_trends() -> list[list[float]]:
    return [[0.0] * len(GROWTHS) for _ in range(len(TRENDS) + 1)]


def _trend(moments: Sequence[Moment], at_s: float) -> int | None:
    """The place among `TRENDS` of how demand has moved until ``at_s``; None where it was not watched for so long."""
    now, before = _minute(moments, at_s), _minute(moments, at_s - TREND_S)
    if now is None or before is None or before <= 0.0:
        return None
    return len([edge for edge in TRENDS if now / before > edge])


def _minute(moments: Sequence[Moment], until_s: float) -> float | None:
    """The demand of the minute before ``until_s`` on average, None where nobody looked."""
    told = [moment.tokens_per_s for moment in moments if until_s - MINUTE_S < moment.at_s <= until_s]
    return fsum(told) / len(told) if told else None


def step_of(growth: float) -> int:
    """The place of the first step of `GROWTHS` that is not below ``growth``, or of the last."""
    return next((place for place, step in enumerate(GROWTHS) if growth <= step), len(GROWTHS) - 1)


def growth_covered(course: Course, share: float, *, by_trend: bool = False) -> float:
    """The growth within a look-ahead that ``share`` of the moments, and of the prior, did not exceed.

    With ``by_trend`` neither did so many of those before which demand had moved as it did now.
    """
    covered = _covered(course.growth, share)
    trend = _trend(course.moments, course.moments[-1].at_s) if by_trend and course.moments else None
    if trend is None or not course.trends:
        return covered
    part = min(1.0, TREND_SHARE_S / max(fsum(course.growth), TREND_SHARE_S))
    alike = zip(course.trends[trend], course.growth or (0.0,) * len(GROWTHS), _prior(), strict=True)
    return max(covered, _quantile([own + part * other + unseen for own, other, unseen in alike], share))


def calm_covered(course: Course, share: float) -> float:
    """As `growth_covered`, over the calm base."""
    return _covered(course.calm_growth, share)


def is_calmer(course: Course, ahead_s: float) -> bool:
    """Whether growth within ``ahead_s`` is told over the calm base."""
    plain, calm = course.losses
    return ahead_s >= CALM_S and calm < CALMER_BY * plain


def _covered(counted: Sequence[float], share: float) -> float:
    """The step that ``share`` of what was counted, if anything was, and of the prior lies at or below."""
    seen = counted or (0.0,) * len(GROWTHS)
    return _quantile([own + unseen for own, unseen in zip(seen, _prior(), strict=True)], share)


def _prior() -> list[float]:
    """The seconds of the prior by step."""
    weights = [0.0] * len(GROWTHS)
    for growth, part in PRIOR:
        weights[step_of(growth)] += part * PRIOR_S
    return weights


def _quantile(weights: Sequence[float], share: float) -> float:
    """The step that ``share`` of the weights lies at or below."""
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
    by_trend = coverage >= TRENDS_FROM
    arriving = now.tokens_per_s / now.served_per_s if now.served_per_s > TOKENS_LEAST_PER_S else 1.0
    # Where one replica was not scraped since, what the others tell makes no new moment, and counts all the same.
    served_per_s = tokens_of(demand.tokens)
    now_per_s = served_per_s * arriving if served_per_s > TOKENS_LEAST_PER_S else now.tokens_per_s
    from_per_s = max(now_per_s, LEAST_SHARE * unit_per_s, TOKENS_LEAST_PER_S)
    # The chance that the next look-ahead holds a record is about its share of the time there was.
    beyond = BEYOND_HIGHEST + ahead_s / (course.seen_s + ahead_s)
    most = max(beyond * course.highest_per_s / from_per_s, 1.0)
    is_calm = is_calmer(course, ahead_s)
    calm_per_s = now_per_s + calm_of(course.moments, now) - now.tokens_per_s
    calm = calm_per_s / from_per_s if is_calm else None
    steady = coverage + STEADY_SHARE * (1.0 - coverage)
    return Forecast(
        now_per_s=now_per_s,
        from_per_s=from_per_s,
        growth=min(_expected(course, coverage, calm, by_trend=by_trend), most),
        steady=min(_expected(course, steady, calm, by_trend=by_trend), most),
        is_calm=is_calm,
        ahead_s=ahead_s,
        request=course.request or request_of(course.moments, demand.tokens.cache_share),
        arriving=arriving,
        queueing_per_s=_queueing_per_s(course.moments),
    )


def _expected(course: Course, share: float, calm: float | None, *, by_trend: bool) -> float:
    """The growth from now that ``share`` of the moments did not exceed.

    ``calm`` is the calm base over now, None where it does not count. What comes now is expected to stay, whatever it
    says.
    """
    if calm is None:
        return growth_covered(course, share, by_trend=by_trend)
    return min(max(calm * calm_covered(course, share), 1.0), GROWTHS[-1])


def _queueing_per_s(moments: Sequence[Moment]) -> float:
    """The requests a second that joined the queue of late.

    One that was not there a scrape ago began, on average, half-way since.
    """
    if len(moments) < 2:  # noqa: PLR2004 - a difference takes two
        return 0.0
    before, now = moments[-2:]
    since_s = now.at_s - before.at_s
    return max(0.0, now.waiting - before.waiting) / (since_s if before.waiting >= 1.0 else since_s / 2.0)


def coverage_of(course: Course, ahead_s: float) -> float:
    """The share of moments whose growth is prepared for."""
    return ahead_s / (ahead_s + IDLE_WORTH_S) if course.coverage is None else course.coverage


def adapted(course: Course, ahead_s: float, elapsed_s: float, *, missed: bool) -> Course:
    """``course`` with the coverage that ``elapsed_s`` more teach, in which the objective was missed or not."""
    coverage = coverage_of(course, ahead_s)
    if missed:
        share = elapsed_s / (elapsed_s + AFTER_A_MISS_S)
        return replace(course, coverage=coverage + share * max(0.0, COVERAGE_MOST - coverage))
    return replace(course, coverage=max(COVERAGE_LEAST, coverage - WITHOUT_A_MISS * elapsed_s))
