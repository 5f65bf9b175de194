"""What the process that answers KEDA makes of what it is told, and of silence."""

import re
from dataclasses import dataclass, replace

from scaler.adapters.keda.line import Address, News, Order
from scaler.core.model import Missing
from scaler.runtime.board import Heard
from scaler.wiring.answerer import Told
from tests.adapters.keda.asking import POLICY, standing

AT_S = 5000.0
LEADERS_S = 1_772_442_000.0


@dataclass
class StandingClock:
    """A clock that a test sets."""

    at_s: float = AT_S

    def now_s(self) -> float:
        return self.at_s

    async def wait_until(self, at_s: float) -> None:
        self.at_s = at_s


def order() -> Order:
    at = Address(host="127.0.0.1", port=0, connection_s=300.0)
    return Order(at=at, certificates=None, fresh_s=90.0, patience_s=60.0, log_level=20)


def news() -> News:
    return News(at_s=AT_S, standings={POLICY: standing(3)}, unfollowed=None, heard=Heard(of_s=LEADERS_S, at_s=AT_S))


def told(*said: News, after_s: float = 0.0) -> Told:
    told = Told(order=order(), clock=StandingClock(AT_S + after_s))
    for each in said:
        told.take(each)
    return told


def test_before_any_news_nothing_is_known() -> None:
    known = told().known()

    assert known.unfollowed() == "nothing was told of them yet"
    assert isinstance(known.fresh_as_of(), Missing)


def test_news_is_what_is_answered_from() -> None:
    known = told(news()).known()

    assert known.unfollowed() is None
    assert known.fresh_as_of() == LEADERS_S
    assert known.standings.get(POLICY) == standing(3)


def test_what_is_no_news_stays_and_what_is_gone_goes() -> None:
    assert told(news(), replace(news(), standings={})).standings.get(POLICY) == standing(3)
    assert told(news(), replace(news(), standings={POLICY: None})).standings.get(POLICY) is None


def test_the_other_process_may_be_silent_for_a_minute_and_no_longer() -> None:
    """Kills the mutant that trusts the last news for ever: a process that was stopped would be believed."""
    assert told(news(), after_s=60.0).known().unfollowed() is None

    silent = told(news(), after_s=61.0).known().unfollowed()

    assert silent == "the process that follows them has said nothing for 61 s"


def test_a_heartbeat_grows_old_though_nothing_is_told_any_more() -> None:
    assert told(news(), after_s=90.0).known().fresh_as_of() == LEADERS_S

    stale = told(news(), after_s=91.0).known().fresh_as_of()

    assert isinstance(stale, Missing)
    assert re.search(r"was 91 s ago, the limit is 90 s", stale.why)


def test_that_the_policies_are_not_followed_is_passed_on() -> None:
    known = told(replace(news(), unfollowed="the scalingpolicies were not listed yet")).known()

    assert known.unfollowed() == "the scalingpolicies were not listed yet"
