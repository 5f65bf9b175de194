"""Scenarios in which GPUs are short: for one model, and for three that matter differently."""

from typing import Final

from scaler.sim.cluster import Cluster
from scaler.sim.compare.cells import SHARE
from scaler.sim.scenarios.measures import (
    Must,
    in_time,
    least_replicas,
    most_replicas,
    of,
    told_short,
    turns_per_hour,
)
from scaler.sim.scenarios.scenario import FEW_TURNS, TURNS_MOST, Scenario
from scaler.sim.scenarios.setting import Beside, Event, Setting, nodes
from scaler.sim.scenarios.traffic import chat, course

HOUR_S: Final = 3600.0
QUARTER_S: Final = 900.0

HALF: Final = 8
NODES_COME_S: Final = 1.75 * HOUR_S

POOL: Final = 18
TOOLS: Final = "models/tools"
BATCH: Final = "models/batch"
RISES_S: Final = HOUR_S
FALLS_S: Final = 2.25 * HOUR_S
ENDS_S: Final = 3.5 * HOUR_S


def _half_of_gpus() -> Scenario:
    return Scenario(
        name="half-of-gpus",
        about="four replicas' worth, fourteen from an hour and a quarter on, on eight GPUs; sixteen more come half an "
        "hour later",
        why="What is asked for beyond the GPUs only waits, and an autoscaler that asks again and again has a hundred "
        "pods waiting when nodes come. Half of the requests cannot be in time until then, whoever decides.",
        setting=lambda: Setting(
            traffic=chat(course((0, 4), (HOUR_S, 4), (1.25 * HOUR_S, 14), (3 * HOUR_S, 14))),
            warm=5,
            pools=(nodes(HALF),),
            events=(Event(at_s=NODES_COME_S, happens=_nodes_come),),
        ),
        musts=(
            Must(
                claim="replicas at most while GPUs are short: those there are, and one that waits",
                measure=most_replicas(0.0, NODES_COME_S),
                most=HALF + 1,
            ),
            Must(
                claim="replicas asked for at least, once they are short: none goes since others cannot come",
                measure=least_replicas(1.4 * HOUR_S, NODES_COME_S),
                least=HALF,
            ),
            Must(
                claim="decisions that say so in CapacityAvailable, once they are short",
                measure=told_short(1.4 * HOUR_S, NODES_COME_S),
                least=1.0,
                form=".0%",
            ),
            Must(
                claim="replicas at least, ten minutes after nodes have come",
                measure=least_replicas(NODES_COME_S + 600.0),
                least=14,
            ),
            Must(
                claim="in time, from half an hour after nodes have come",
                measure=in_time(NODES_COME_S + 1800.0),
                least=SHARE,
                form=".2%",
            ),
            FEW_TURNS,
        ),
        told_at_s=(1.5 * HOUR_S, NODES_COME_S + 60.0),
    )


def _nodes_come(cluster: Cluster) -> None:
    cluster.add_nodes(nodes(2 * HALF))


def _three_priorities() -> Scenario:
    return Scenario(
        name="three-priorities",
        about="chat before tools before batch on eighteen GPUs, each with four replicas' worth; for an hour and a "
        "quarter chat has nine",
        why="Three GPUs are free, so what matters most gets the rest only as others give way, through their drain and "
        "a start. Nobody may fall below its floor, and who gave way must come back.",
        setting=lambda: Setting(
            traffic=chat(
                course((0, 4), (RISES_S, 4), (RISES_S + 600, 9), (FALLS_S, 9), (FALLS_S + 600, 4), (ENDS_S, 4))
            ),
            warm=5,
            priority=2,
            beside=(
                Beside(name=TOOLS, traffic=chat(course((0, 4), (ENDS_S, 4))), warm=5, priority=1),
                Beside(name=BATCH, traffic=chat(course((0, 4), (ENDS_S, 4))), warm=5),
            ),
            pools=(nodes(POOL),),
        ),
        musts=(
            Must(
                claim="chat in time, from a quarter of an hour after its rise on",
                measure=in_time(RISES_S + 600 + QUARTER_S),
                least=SHARE,
                form=".2%",
            ),
            Must(claim="tools in time, all the time", measure=of(TOOLS, in_time()), least=SHARE, form=".2%"),
            Must(claim="batch never below its floor", measure=of(BATCH, least_replicas()), least=1),
            Must(
                claim="batch in time, in the last half hour",
                measure=of(BATCH, in_time(ENDS_S - 1800.0)),
                least=SHARE,
                form=".2%",
            ),
            FEW_TURNS,
            Must(claim="turns of batch, by the hour", measure=of(BATCH, turns_per_hour), most=TURNS_MOST, form=".2f"),
        ),
        told_at_s=(RISES_S + 600.0, RISES_S + 1200.0),
    )


SHARED: Final = (_half_of_gpus(), _three_priorities())
"""All of this page."""
