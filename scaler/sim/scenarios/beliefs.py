"""Scenarios that begin with a wrong belief: of what a replica carries, or of how long a start takes."""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from scaler.core.memory import Memory
from scaler.sim.compare.cells import SHARE
from scaler.sim.scenarios.measures import Must, carried_off_by, in_time, load_off_by
from scaler.sim.scenarios.run import played
from scaler.sim.scenarios.scenario import Scenario
from scaler.sim.scenarios.setting import Setting, nodes
from scaler.sim.scenarios.traffic import chat, course

HOUR_S: Final = 3600.0
QUARTER_S: Final = 900.0
SHARE_WITH_A_WRONG_BELIEF: Final = 0.97
LESSON_SEED: Final = 99
CAPACITY_LOAD_S: Final = 60.0
WAVES_LOAD_S: Final = 300.0
STARTS_LOAD_S: Final = 300.0

TOKENS_PER_S: Final = 8400.0
"""What one replica carries of this chat, prefill and decode tokens together: learned from the first minute to the end
of two hours at a known speed, between 8000 and 8700 with the mix of the last minutes."""


@lru_cache(maxsize=4)
def taught(speed: float) -> Memory:
    """What is remembered of a replica's capacity after an hour with replicas of ``speed`` times the usual one."""
    lesson = Setting(traffic=chat(course((0, 2 * speed), (HOUR_S, 6 * speed))), warm=8, pools=(nodes(speed=speed),))
    learned = played(lesson, LESSON_SEED).decisions[-1].plan.memory
    return Memory(at_s=0.0, capacities=tuple(replace(capacity, at_s=None) for capacity in learned.capacities))


def _carries(name: str, speed: float, about: str, why: str, least: float) -> Scenario:
    return Scenario(
        name=name,
        about=f"twelve replicas' worth, 24 after an hour, a load time of 60 s, and {about}",
        why=why,
        setting=lambda: Setting(
            traffic=chat(course((0, 12), (HOUR_S, 24), (2 * HOUR_S, 24))),
            warm=15,
            load_s=CAPACITY_LOAD_S,
            most=96,
            memory=taught(speed),
        ),
        musts=(
            Must(claim="in time, in the first hour", measure=in_time(0.0, HOUR_S), least=least, form=".2%"),
            Must(claim="in time, in the second hour", measure=in_time(HOUR_S), least=SHARE, form=".2%"),
            Must(
                claim="the belief off, after a quarter of an hour",
                measure=carried_off_by(TOKENS_PER_S, QUARTER_S),
                most=0.15,
                form=".0%",
            ),
        ),
        told_at_s=(142.5, 307.5),
    )


def _in_waves(name: str, speed: float, about: str, why: str, least: float) -> Scenario:
    return Scenario(
        name=name,
        about=f"eight replicas' worth, in a quarter of an hour twelve, then four, a load time of 300 s, and {about}",
        why=why,
        setting=lambda: Setting(
            traffic=chat(course((0, 8), (QUARTER_S, 12), (3 * QUARTER_S, 4), (HOUR_S, 8), (5 * QUARTER_S, 12))),
            warm=10,
            load_s=WAVES_LOAD_S,
            most=96,
            memory=taught(speed),
        ),
        musts=(Must(claim="in time, in the first hour", measure=in_time(0.0, HOUR_S), least=least, form=".2%"),),
        told_at_s=(142.5, 232.5),
    )


def _starts(name: str, factor: float, about: str, why: str, least: float) -> Scenario:
    return Scenario(
        name=name,
        about=f"two replicas' worth, seven after an hour, a load time of 300 s, and a policy that {about}",
        why=why,
        setting=lambda: Setting(
            traffic=chat(course((0, 2), (HOUR_S, 7), (2 * HOUR_S, 7))),
            warm=3,
            load_s=STARTS_LOAD_S,
            expected_s=STARTS_LOAD_S * factor,
            memory=taught(1.0),
        ),
        musts=(
            Must(claim="in time, in the first hour", measure=in_time(0.0, HOUR_S), least=least, form=".2%"),
            Must(claim="in time, in the second hour", measure=in_time(HOUR_S), least=SHARE, form=".2%"),
            Must(
                claim="the median load time off, after five starts",
                measure=load_off_by(STARTS_LOAD_S),
                most=0.25,
                form=".0%",
            ),
        ),
        told_at_s=(607.5, 1507.5),
    )


BELIEFS: Final = (
    _carries(
        "capacity-true",
        1.0,
        "the right belief of what a replica carries",
        "What the two that follow are measured against.",
        SHARE,
    ),
    _carries(
        "capacity-twice",
        2.0,
        "a belief of twice what a replica carries",
        "Half of the fleet seems to be idle. A short load time makes a short hold, so that replicas may go before a "
        "minute has spoken against the belief.",
        SHARE_WITH_A_WRONG_BELIEF,
    ),
    _carries(
        "capacity-half",
        0.5,
        "a belief of half of what a replica carries",
        "Everything seems to be twice as much as it is: dear, until it is learned.",
        SHARE_WITH_A_WRONG_BELIEF,
    ),
    _in_waves(
        "waves-true",
        1.0,
        "the right belief of what a replica carries",
        "What the one that follows is measured against.",
        SHARE,
    ),
    _in_waves(
        "waves-twice",
        2.0,
        "a belief of twice what a replica carries",
        "Two replicas of ten that go in the first minutes are missed for a load time, since the wave rises.",
        SHARE_WITH_A_WRONG_BELIEF,
    ),
    _starts(
        "starts-true",
        1.0,
        "expects it",
        "What the two that follow are measured against.",
        SHARE,
    ),
    _starts(
        "starts-quarter",
        0.25,
        "expects 75 s",
        "The look-ahead is a fifth of what it should be until the first start has gone on for longer than expected.",
        SHARE_WITH_A_WRONG_BELIEF,
    ),
    _starts(
        "starts-fourfold",
        4.0,
        "expects 1200 s",
        "The look-ahead is four times what it should be, which costs replicas until starts have ended.",
        SHARE_WITH_A_WRONG_BELIEF,
    ),
)
"""All of this page."""
