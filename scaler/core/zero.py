"""Of a model that may go to zero: what is known of its demand without a replica, and since when nothing has come.

Nobody is asked for zero who has not asked for it (`Policy.scale_to_zero`). A signal that is missing is no zero here
either: it keeps the last replica, and it keeps nobody at zero who is seen to have demand by another signal.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from scaler.core.demand import NOBODY_READY, REQUESTS_MOST, demand_of, unheard
from scaler.core.model import NO_PICKER, Demand, Fleet, Missing, Observation, Policy, Role, Tokens
from scaler.core.plan import LoadTime, Ruling

NOBODY_TELLS: Final = Missing(why="no signal tells what comes while there is no replica")


def coming(observation: Observation) -> Ruling | Missing:
    """What comes, by the signals that need no replica: one is enough to say that something does, all that nothing does.

    The count is 1 where something comes and 0 where nothing does; how many replicas it takes is not known of a query
    in units of its own.
    """
    told = list(_told(observation))
    for words, value in told:
        if not isinstance(value, Missing) and value > 0.0:
            return Ruling(
                rule="need", before=0, after=1, because=f"what comes ({words} {value:g})", facts={"coming": value}
            )
    for _, value in told:
        if isinstance(value, Missing):
            return value
    if not told:
        return NOBODY_TELLS
    because = " and ".join(f"{words} 0" for words, _ in told)
    return Ruling(rule="need", before=0, after=0, because=f"what comes ({because})", facts={"coming": 0.0})


def _told(observation: Observation) -> Iterator[tuple[str, float | Missing]]:
    """Each signal that the policy has, in words that a number completes."""
    if observation.demand_at_gateway is not None:
        yield "demandQuery gives", _believed("demandQuery", observation.demand_at_gateway)
    if observation.gateway_waiting != NO_PICKER:
        yield (
            "the requests that wait at the endpoint picker are",
            _believed("the endpoint picker's queue", observation.gateway_waiting),
        )
        yield (
            "the requests that the endpoint picker turns away by the second are",
            _believed("the endpoint picker's refusals", observation.gateway_refused_per_s),
        )
    if observation.own_replicas is not None:
        yield "the replicas' worth of work in hand is", _believed("the policy's own queries", observation.own_replicas)


def _believed(name: str, value: float | Missing) -> float | Missing:
    # Written so that NaN, which compares false with everything, is refused as well.
    if isinstance(value, Missing) or 0.0 <= value <= REQUESTS_MOST:
        return value
    return Missing(why=f"{name}: an absurd {value:g}")


def is_at_zero(policy: Policy, role: str, observation: Observation) -> bool:
    """Whether no replica of ``role`` is asked for, in any version, by a policy that allows it."""
    fleets = [observation.fleet(target.key) for target in policy.targets() if target.key.role == role]
    return policy.scale_to_zero is not None and all(
        isinstance(fleet, Fleet) and fleet.requested == 0 for fleet in fleets
    )


def need_at_zero(policy: Policy, role: str, observation: Observation, at_s: float) -> Ruling | Missing | None:
    """The need of a role that is at zero, by the signals that need no replica.

    None where it is not at zero, where replicas that are on their way out still have work to tell of, and where the
    policy's own queries give a number of replicas: then the need is told as everywhere else.
    """
    if not is_at_zero(policy, role, observation):
        return None
    if not _is_nothing(demand_of(Role(role), observation, policy, at_s)):
        return None
    come = coming(observation)
    tells_replicas = isinstance(observation.own_replicas, float) and observation.own_replicas > 0.0
    return None if tells_replicas and isinstance(come, Ruling) and come.after > 0 else come


def _is_nothing(demand: Demand | Missing) -> bool:
    """Whether the replicas tell of no work; those that are not there have none."""
    if isinstance(demand, Missing):
        return True
    flow = demand.tokens
    served = 0.0 if isinstance(flow, Missing) else _most(flow)
    return max(demand.running, demand.waiting, demand.refused_per_s, served) <= 0.0


def _most(flow: Tokens) -> float:
    return max(flow.prefill_per_s, flow.decode_per_s, flow.requests_per_s)


def idle_from(
    policy: Policy,
    observation: Observation,
    needs: Iterable[Ruling | Missing],
    idle_from_s: float | None,
    at_s: float,
) -> float | None:
    """Since when it is known that nothing comes, given since when it was; None while it is not known now.

    A need that is not known, for any reason but that no replica is ready, may be one: of a replica that is not ready
    nobody expects to hear.
    """
    unknown = any(isinstance(need, Missing) and need.why != NOBODY_READY for need in needs)
    if policy.scale_to_zero is None or unknown or not _is_idle(policy, observation, at_s):
        return None
    return at_s if idle_from_s is None else idle_from_s


def _is_idle(policy: Policy, observation: Observation, at_s: float) -> bool:
    """Whether nothing comes, and every replica that could have work was read, and has none."""
    come = coming(observation)
    if isinstance(come, Missing) or come.after > 0 or not observation.shows_all_of(policy):
        return False
    return not any(
        unheard(role, observation, policy, at_s) or not _is_nothing(demand_of(role, observation, policy, at_s))
        for role in (Role(target.key.role) for target in policy.targets())
    )


def start_told(load_time: LoadTime) -> str:
    """What the next request waits for at zero, in words."""
    if load_time.samples == 0:
        return f"about {load_time.p90_s:.0f} s (p90 by loading.expectedSeconds, until a start is measured)"
    starts = "1 start" if load_time.samples == 1 else f"{load_time.samples} starts"
    return f"about {load_time.p90_s:.0f} s (p90 of {starts})"
