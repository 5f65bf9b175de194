"""Scenarios that are hard for what befalls the cluster: replicas slow down, starts take longer, metrics are gone."""

from typing import Final

import numpy as np

from scaler.sim.cluster import Cluster
from scaler.sim.compare.cells import SHARE
from scaler.sim.scenarios.measures import (
    Must,
    in_time,
    kept_unknown,
    load_off_by,
    load_p90_s,
    most_replicas,
    shrinks,
)
from scaler.sim.scenarios.scenario import FEW_TURNS, Scenario
from scaler.sim.scenarios.setting import LOAD_S, SERVICE, Event, Setting, nodes
from scaler.sim.scenarios.traffic import chat, course, repeated

HOUR_S: Final = 3600.0
TWICE: Final = 2.0
LEAKED_SPEED: Final = 0.6
FULL_SPEED_NODES: Final = 8


def _capacity_leak() -> Scenario:
    gone = tuple(Event(at_s=1800.0 * (place + 1), happens=_first_node_gone) for place in range(FULL_SPEED_NODES))
    return Scenario(
        name="capacity-leak",
        about="six replicas' worth for six hours, while every half hour one of eight nodes gives way to one of 0.6 "
        "times the speed",
        why="No single moment shows it. What the middle replica carries says nothing of the slow ones until half of "
        "them are, and counted in heads, seven with three slow ones are as many as before.",
        setting=lambda: Setting(
            traffic=chat(np.full(int(6 * HOUR_S), 6.0)),
            warm=8,
            pools=(nodes(FULL_SPEED_NODES), nodes(24, speed=LEAKED_SPEED)),
            events=gone,
        ),
        musts=(
            Must(claim="in time", measure=in_time(), least=SHARE, form=".2%"),
            Must(
                claim="in time, in the third and fourth hour, when every second one is slow",
                measure=in_time(2 * HOUR_S, 4 * HOUR_S),
                least=SHARE,
                form=".2%",
            ),
            Must(
                claim="replicas at most, a fifth more than the slow ones that carry it",
                measure=most_replicas(),
                most=12,
            ),
            FEW_TURNS,
        ),
        told_at_s=(2.5 * HOUR_S, 2.65 * HOUR_S),
    )


def _first_node_gone(cluster: Cluster) -> None:
    cluster.remove_node(cluster.nodes[0].name)  # those of full speed are the oldest


def _slow_pool() -> Scenario:
    wave = course((0, 2), (HOUR_S, 8), (1.5 * HOUR_S, 8), (2.5 * HOUR_S, 2), (3 * HOUR_S, 2))
    return Scenario(
        name="slow-pool",
        about="three waves from two to eight replicas' worth; beyond five nodes, starts take twice as long",
        why="The same model on the same GPUs has two load times, and which of them the next start has is known to the "
        "scheduler only. The slower one must set the look-ahead.",
        setting=lambda: Setting(traffic=chat(repeated(wave, 3)), warm=3, pools=(nodes(5), nodes(load_factor=TWICE))),
        musts=(
            Must(claim="in time", measure=in_time(), least=SHARE, form=".2%"),
            Must(
                claim="believed load time at the 90th percentile after the first wave, in seconds",
                measure=load_p90_s(2 * HOUR_S),
                least=0.9 * TWICE * LOAD_S,
                form=".0f",
            ),
            FEW_TURNS,
        ),
        told_at_s=(3472.5,),
    )


def _slower_at_noon() -> Scenario:
    work = course((0, 2), (6 * HOUR_S, 6), (10 * HOUR_S, 12), (12 * HOUR_S, 6))
    slow = Event(at_s=0.0, happens=lambda cluster: cluster.slow_loading(from_s=6 * HOUR_S, factor=TWICE))
    return Scenario(
        name="slower-at-noon",
        about="a day from six to six, up to twelve replicas' worth at four; from noon on a start takes twice as long",
        why="The starts of the morning say one thing, those of the afternoon another, and the peak is still to come.",
        setting=lambda: Setting(traffic=chat(work), warm=3, events=(slow,)),
        musts=(
            Must(claim="in time, in the morning", measure=in_time(0.0, 6 * HOUR_S), least=SHARE, form=".2%"),
            Must(claim="in time, in the afternoon", measure=in_time(6 * HOUR_S), least=SHARE, form=".2%"),
            Must(
                claim="the median load time off, after five slow starts",
                measure=load_off_by(TWICE * LOAD_S, from_s=6 * HOUR_S),
                most=0.25,
                form=".0%",
            ),
            FEW_TURNS,
        ),
        told_at_s=(6 * HOUR_S, 10 * HOUR_S),
    )


def _blind_at_peak() -> Scenario:
    peak_s = 2.5 * HOUR_S
    from_s, until_s = peak_s - 300.0, peak_s + 300.0
    blind = Event(at_s=0.0, happens=lambda cluster: cluster.blind(SERVICE, from_s=from_s, until_s=until_s))
    return Scenario(
        name="blind-at-peak",
        about="up from two to eight replicas' worth and down again;"
        " no metric is read for the ten minutes around the peak",
        why="What is not known is not nothing. The count stays, whatever the last value was, and nothing goes until "
        "the demand has been seen for a whole hold again.",
        setting=lambda: Setting(traffic=chat(course((0, 2), (peak_s, 8), (2 * peak_s, 2))), warm=3, events=(blind,)),
        musts=(
            Must(claim="in time, without metrics", measure=in_time(from_s, until_s), least=SHARE, form=".2%"),
            Must(claim="in time", measure=in_time(), least=SHARE, form=".2%"),
            Must(
                claim="shrinks, until 90 s after the metrics are back",
                measure=shrinks(from_s, until_s + 90.0),
                most=0,
            ),
            Must(
                claim="decisions without metrics that keep the count and say why",
                measure=kept_unknown(from_s + 15.0, until_s),
                least=1.0,
                form=".0%",
            ),
            FEW_TURNS,
        ),
        told_at_s=(peak_s, until_s + 37.5),
    )


FAULTS: Final = (_capacity_leak(), _slow_pool(), _slower_at_noon(), _blind_at_peak())
"""All of this page."""
