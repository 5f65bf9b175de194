"""The demand of a role, tick by tick, by requests that are all alike, and what is forecast from it."""

from scaler.core.forecast import GROWTHS, Forecast, forecast, watched
from scaler.core.memory import Course
from scaler.core.model import Demand, Role, Tokens
from tests.builders import START_S

SERVE = Role.SERVE.value
NEW = Course(role=SERVE)
TICK_S = 15.0
AHEAD_S = 300.0
PROMPT, ANSWER = 1000.0, 100.0
A_REQUEST = PROMPT + 3.5 * ANSWER


def demand(
    at_s: float, requests_per_s: float, waiting: float = 0.0, running: float = 10.0, finished_per_s: float | None = None
) -> Demand:
    """So many requests a second that are served, each of 1000 tokens in and 100 out."""
    return Demand(
        at_s=at_s,
        running=running,
        waiting=waiting,
        kv_replicas=0.1,
        tokens=Tokens(
            prefill_per_s=requests_per_s * PROMPT,
            decode_per_s=requests_per_s * ANSWER,
            requests_per_s=requests_per_s if finished_per_s is None else finished_per_s,
            cache_share=0.01,
        ),
    )


def course(*requests_per_s: float, before: Course = NEW, ahead_s: float = AHEAD_S, unit: float = 0.0) -> Course:
    """What is known after a tick with each of these rates."""
    start_s = before.moments[-1].at_s + TICK_S if before.moments else START_S
    for tick, rate in enumerate(requests_per_s):
        before = watched(before, demand(start_s + tick * TICK_S, rate), ahead_s, unit * A_REQUEST)
    return before


def peak(known: Course, requests_per_s: float, unit: float = 0.0, ahead_s: float = AHEAD_S) -> Forecast:
    told = forecast(known, demand(known.moments[-1].at_s, requests_per_s), ahead_s, unit * A_REQUEST)
    assert isinstance(told, Forecast)
    return told


def counted(known: Course) -> dict[float, float]:
    """The steps of growth that were seen, with for how many ticks."""
    return {step: weight / TICK_S for step, weight in zip(GROWTHS, known.growth, strict=True) if weight > 0.0}
