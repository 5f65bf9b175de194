"""What Kubernetes and Prometheus say becomes one observation."""

import pytest

from scaler.api.policy import policy_of
from scaler.api.v1alpha1 import ScalingPolicy
from scaler.core.model import FirstTokens, Fleet, Missing, Objective, Phase
from scaler.runtime.signals import Answered
from scaler.wiring.world import joined, question
from tests.builders import fleet, key, load, ready, seen, starting

QUIET = Missing(why="nobody asks")


def document(**spec: object) -> ScalingPolicy:
    """A policy of one Deployment, with this in its spec."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama-v1"}
    return ScalingPolicy.model_validate(
        {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "ScalingPolicy",
            "metadata": {"name": "llama", "namespace": "models"},
            "spec": {
                "signals": {"engine": "VLLM", "modelName": "llama"},
                "versions": [{"name": "v1", "targets": [{"targetRef": target}]}],
                "replicas": {"min": 1, "max": 8},
                **spec,
            },
        }
    )


@pytest.mark.parametrize(
    ("objectives", "objective"),
    [
        ({}, None),
        (
            {"timeToFirstToken": {"percentile": 99.0, "milliseconds": 1500}},
            Objective(percentile=99.0, limit_s=1.5),
        ),
    ],
)
def test_engines_are_asked_for_what_the_policy_says_of_its_ready_pods(
    objectives: dict[str, object], objective: Objective | None
) -> None:
    asked = question(
        document(objectives=objectives),
        policy_of(document(objectives=objectives), 0.0),
        seen(fleet(ready("a"), starting("s"))),
    )

    assert (asked.policy, asked.namespace, asked.pods) == ("models/llama", "models", ("a",))
    assert asked.signals.model_name == "llama"
    assert (asked.objective, asked.demand_query) == (objective, None)


def test_every_replica_that_was_asked_for_gets_what_its_engine_said() -> None:
    answer = Answered(
        loads={"a": load(running=3.0)},
        ttft_s=0.4,
        first_tokens=FirstTokens(per_s=8.0, late_per_s=0.5),
        gateway_waiting=2.0,
        gateway_refused_per_s=1.5,
    )

    observation = joined(seen(fleet(ready("a"), starting("s"))), answer)

    told = observation.fleet(key())
    assert isinstance(told, Fleet)
    assert [replica.load for replica in told.replicas] == [load(running=3.0), starting("s").load]
    of_first_tokens = (observation.ttft_s, observation.first_tokens)
    at_the_gateway = (observation.gateway_waiting, observation.gateway_refused_per_s)
    assert (of_first_tokens, at_the_gateway) == ((0.4, FirstTokens(per_s=8.0, late_per_s=0.5)), (2.0, 1.5))


def test_a_replica_whose_engine_sleeps_is_no_supply() -> None:
    answer = Answered(
        loads={"a": load(), "z": Missing(why="asleep")},
        ttft_s=QUIET,
        first_tokens=QUIET,
        gateway_waiting=QUIET,
        asleep=frozenset({"z"}),
    )

    told = joined(seen(fleet(ready("a"), ready("z"))), answer).fleet(key())

    assert isinstance(told, Fleet)
    assert [replica.phase for replica in told.replicas] == [Phase.READY, Phase.ASLEEP]


def test_a_fleet_that_was_not_seen_stays_unseen_and_own_queries_are_passed_on() -> None:
    answer = Answered(
        loads={}, ttft_s=QUIET, first_tokens=QUIET, gateway_waiting=QUIET, own_replicas=2.5, demand_at_gateway=7.0
    )

    observation = joined(seen(Missing(why="the watch is broken")), answer)

    assert observation.fleet(key()) == Missing(why="the watch is broken")
    assert (observation.own_replicas, observation.demand_at_gateway) == (2.5, 7.0)
