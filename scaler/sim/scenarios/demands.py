"""Scenarios that are hard for their traffic: it steps, stops, changes its kind, or only seems to change."""

from typing import Final

import numpy as np

from scaler.sim.compare.cells import SHARE, STEP_LASTS_S, traffic
from scaler.sim.compare.contenders import STEP_MOST
from scaler.sim.compare.step import STEP_CELL
from scaler.sim.latency import QWEN_32B_H100
from scaler.sim.nodes import NodePool
from scaler.sim.rates import DAY_S
from scaler.sim.scenarios.measures import (
    Must,
    answered,
    changes,
    in_time,
    mean_replicas,
    most_replicas,
    p99_s,
    replica_hours,
    turns,
)
from scaler.sim.scenarios.scenario import FEW_TURNS, Scenario
from scaler.sim.scenarios.setting import LOAD_S, Setting
from scaler.sim.scenarios.traffic import Traffic, chat, course, prompt_lengths, repeated
from scaler.sim.workload import Rated

HOUR_S: Final = 3600.0
POOLS: Final = (1, 2, 4, 8, 16, 32)


def _step_to_ten() -> Scenario:
    met_s = HOUR_S + 2.5 * LOAD_S
    return Scenario(
        name="step-to-ten",
        about="half a replica's worth of chat for an hour, then ten times as much from one second to the next",
        why="One replica meets what takes five. All who come before others are ready must wait; what counts is how "
        "soon that ends, and that the queue, which stays in the first engine, is not taken for lasting demand.",
        setting=lambda: Setting(
            traffic=chat(course((0, 0.5), (HOUR_S, 0.5), (HOUR_S + 1, 5), (2 * HOUR_S, 5))), warm=1
        ),
        musts=(
            Must(
                claim="in time, from 2.5 load times after the step on",
                measure=in_time(met_s),
                least=SHARE,
                form=".2%",
            ),
            Must(claim="replicas at most, three times what the step needs", measure=most_replicas(), most=15),
            Must(
                claim="replicas at most, half an hour after the step",
                measure=most_replicas(1.5 * HOUR_S),
                most=7,
            ),
            FEW_TURNS,
        ),
        told_at_s=(HOUR_S + 37.5, HOUR_S + 67.5),
    )


def _on_off() -> Scenario:
    period = course((0, 0.1), (600, 0.1), (601, 6), (1200, 6), (1201, 0.1), (1800, 0.1))
    return Scenario(
        name="on-off",
        about="ten minutes of six replicas' worth in every half hour, for six hours, and next to nothing between",
        why="Going along costs four turns an hour and misses every beginning. After two rounds the growth is known: "
        "the replicas have to stay, and that should cost no more than a constant would.",
        setting=lambda: Setting(traffic=chat(repeated(period, 12)), warm=1),
        musts=(
            FEW_TURNS,
            Must(claim="in time, from the third hour on", measure=in_time(2 * HOUR_S), least=SHARE, form=".2%"),
            Must(
                claim="replica-hours, as a constant of eight has them",
                measure=replica_hours,
                most=48.0,
                form=".1f",
            ),
        ),
        told_at_s=(1822.5, 6022.5),
    )


def _longer_prompts() -> Scenario:
    factor = course((0, 1), (HOUR_S, 1), (2 * HOUR_S, 10), (4 * HOUR_S, 10))
    return Scenario(
        name="prompts-tenfold",
        about="eight requests a second throughout, whose prompts grow from 450 to 4500 tokens within an hour",
        why="No count of requests sees it coming. The work grows in prefilled tokens, and each request holds more of "
        "the KV cache, so that fewer run at once.",
        setting=lambda: Setting(
            traffic=Traffic(rps=np.full(len(factor), 8.0), lengths=prompt_lengths(), prompt_factor=factor), warm=2
        ),
        musts=(
            Must(claim="in time", measure=in_time(), least=SHARE, form=".2%"),
            Must(claim="in time, while they grow", measure=in_time(HOUR_S, 2 * HOUR_S), least=SHARE, form=".2%"),
            Must(claim="replicas at most, of which four are busy", measure=most_replicas(), most=8),
            FEW_TURNS,
            Must(
                claim="changes in the last hour and a half, in which nothing grows",
                measure=changes(2.5 * HOUR_S),
                most=0,
            ),
        ),
        told_at_s=(4957.5, 7057.5),
    )


def _idle_day() -> Scenario:
    again_s = HOUR_S + DAY_S
    work = course((0, 3), (HOUR_S, 3), (HOUR_S + 1, 0), (again_s, 0), (again_s + 1800, 3), (again_s + 2 * HOUR_S, 3))
    return Scenario(
        name="idle-day",
        about="an hour of three replicas' worth, a day of nothing at all, and the same again within half an hour",
        why="Nothing is a measurement, not a fault: the count goes down to what must be, and stays. What was learned "
        "has to outlast the day.",
        setting=lambda: Setting(traffic=chat(work), warm=4),
        musts=(
            Must(
                claim="replicas, from half an hour of nothing on", measure=most_replicas(1.5 * HOUR_S, again_s), most=1
            ),
            Must(claim="changes in that time", measure=changes(1.5 * HOUR_S, again_s), most=0),
            Must(
                claim="in time, in the hour after the day",
                measure=in_time(again_s, again_s + HOUR_S),
                least=SHARE,
                form=".2%",
            ),
            FEW_TURNS,
        ),
        told_at_s=(DAY_S / 2, again_s + 1200.0),
    )


def _published_step() -> Scenario:
    return Scenario(
        name="published-step",
        about="Qwen3-32B, 4000 tokens in, 1000 out, 20 requests a second for 600 s, one of at most eight ready",
        why="The step load that others published figures for (docs/validation.md). Fourteen would be needed, so nobody "
        "is in time: what differs is how soon there are eight. Published P99 of the first token: WVA V1 98 s with 4184 "
        "errors, KEDA with the endpoint picker 507 s at 7.4 replicas, two replicas 555 s, HPA 556 s.",
        setting=_published,
        musts=(
            Must(
                claim="P99 of the first tokens within the 600 s, a twentieth above the best published without errors",
                measure=p99_s(STEP_LASTS_S),
                most=507.0 * 1.05,
                form=".0f",
            ),
            Must(
                claim="had their first token within the 600 s, as KEDA with the endpoint picker in the same model",
                measure=answered(STEP_LASTS_S),
                least=0.53,
                form=".1%",
            ),
            Must(
                claim="replicas on average over the 600 s, as published of KEDA",
                measure=mean_replicas(STEP_LASTS_S),
                most=7.4,
                form=".2f",
            ),
        ),
        told_at_s=(37.5, 187.5),
    )


def _published() -> Setting:
    rated = traffic(STEP_CELL)
    if not isinstance(rated, Rated):
        raise TypeError("the step must be a series of rates")
    return Setting(
        traffic=Traffic(rps=rated.rates.rps, lengths=rated.lengths),
        warm=1,
        load_s=STEP_CELL.load_s,
        most=STEP_MOST,
        pools=(NodePool(node_class=QWEN_32B_H100.gpu, nodes=STEP_MOST, gpus_per_node=QWEN_32B_H100.gpus),),
        engine=QWEN_32B_H100,
    )


def _steady(pool: int) -> Scenario:
    return Scenario(
        name=f"steady-{pool}",
        about=f"six hours of chat at a constant rate that keeps {pool} busy, with a quarter more ready as it begins",
        why="Arrivals are random, gauges have noise, one scrape in fifty is lost, and nothing changes. Every turn is a "
        "mistake.",
        setting=lambda: Setting(
            traffic=chat(np.full(int(6 * HOUR_S), float(pool))), warm=-(-5 * pool // 4), most=max(4, 3 * pool)
        ),
        musts=(
            Must(claim="turns", measure=turns, most=0),
            Must(claim="in time", measure=in_time(), least=SHARE, form=".2%"),
        ),
        told_at_s=(3 * HOUR_S,),
    )


DEMANDS: Final = (
    _step_to_ten(),
    _on_off(),
    _longer_prompts(),
    _idle_day(),
    _published_step(),
    *(_steady(pool) for pool in POOLS),
)
"""All of this page."""
