"""From a plan to commands: absolute, only where something differs, in the order grow, shift, shrink.

The order is the safety argument. Interrupted after any command, every version still has the replicas for the weight
that it has: what grew has not been given traffic yet, and what shrinks has lost its traffic before.
"""

from collections.abc import Mapping, Sequence

from scaler.core.model import Actuation, Missing, Observation, Policy
from scaler.core.plan import Command, SetReplicas, SetWeights, TargetPlan


def commands_of(
    policy: Policy,
    observation: Observation,
    targets: Sequence[TargetPlan],
    weights: Mapping[str, int] | Missing,
) -> tuple[Command, ...]:
    """What must be said to the world for ``targets`` and ``weights`` to become true; nothing where we may not write."""
    if policy.actuation is Actuation.ADVISE or policy.paused:
        return ()
    shift = _shift(observation, weights)
    if policy.actuation is Actuation.KEDA:
        return shift
    grow: list[Command] = []
    shrink: list[Command] = []
    for target in targets:
        fleet = observation.fleet(target.key)
        if isinstance(fleet, Missing) or fleet.requested == target.replicas:
            continue
        order = grow if target.replicas > fleet.requested else shrink
        order.append(SetReplicas(key=target.key, replicas=target.replicas))
    return (*grow, *shift, *shrink)


def _shift(observation: Observation, weights: Mapping[str, int] | Missing) -> tuple[Command, ...]:
    if isinstance(weights, Missing) or isinstance(observation.weights, Missing):
        return ()
    same = all(observation.weights.get(version, 0) == weight for version, weight in weights.items())
    return () if same else (SetWeights(weights=dict(weights)),)
