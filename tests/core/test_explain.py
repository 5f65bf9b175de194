"""A plan in words that a stranger understands, with the numbers it rests on."""

from dataclasses import replace

from scaler.core.explain import RULE_WORDS, explain, summary
from scaler.core.limits import RULES
from scaler.core.model import Actuation, Missing, Observation, Policy, WarmWindow
from tests.builders import (
    START_S,
    fleet,
    plan_of,
    policy,
    ready,
    releasing,
    seen,
    serving,
    starting,
    unschedulable,
    watched,
)


def told(observation: Observation, asked: Policy | None = None) -> str:
    memory = watched((120.0, 7), (15.0, 3))
    return explain(plan_of(observation, asked, memory), observation, "noon")


def test_every_rule_has_its_words() -> None:
    assert set(RULE_WORDS) == {rule.__name__ for rule in RULES} | {"wish", "keep", "share", "give_way"}


def test_a_held_shrink_from_demand_to_command() -> None:
    assert told(seen(fleet(*serving(8, running=6.0), requested=8))) == (
        "models/llama at noon\n"
        "  v1: asked for 8, 8 ready, 0 starting.\n"
        "    Needed: 2 replicas for 48 running and 0 waiting requests at 24 to a replica: 8 becomes 2.\n"
        "    Held: 120 s ago it took 7 replicas, and a start takes up to 300 s: a dip must last 120 s: 2 becomes 7.\n"
        "    Load time: half of the starts within 300 s, 90 % within 300 s, from 8 starts measured"
        " (waiting for a node 1 s, pulling 99 s, initialising 10 s, loading 190 s).\n"
        "    So v1 should have 7.\n"
        "  Told: v1 has 7 replicas."
    )


def test_a_release_that_waits_for_a_node() -> None:
    observation = seen(
        {"v1": fleet(*serving(2, running=24.0)), "v2": fleet(unschedulable("u"))}, weights={"v1": 100, "v2": 0}
    )

    assert told(observation, releasing((60, 300.0), (100, 0.0))) == (
        "models/llama at noon\n"
        "  v1: asked for 2, 2 ready, 0 starting.\n"
        "    Needed: 2 replicas for 48 running and 0 waiting requests at 24 to a replica.\n"
        "    Load time: half of the starts within 300 s, 90 % within 360 s, from 2 starts measured"
        " (waiting for a node 1 s, pulling 99 s, initialising 10 s, loading 190 s).\n"
        "    So v1 should have 2.\n"
        "  v2: asked for 1, 0 ready, 1 starting.\n"
        "    Needed: 2 replicas for 48 running and 0 waiting requests at 24 to a replica, for 60 % of the traffic:"
        " 1 becomes 2.\n"
        "    No room: 1 of the 1 asked for cannot start (u: no node takes it): 2 becomes 1.\n"
        "    Load time: half of the starts within 300 s, 90 % within 420 s; expected, not measured yet.\n"
        "    So v2 should have 1.\n"
        "  Release: 0 % of the traffic, now 0 %: 60 % wait for capacity: 0 ready replicas of v2 carry 0 %.\n"
        "  Nothing has to change.\n"
        "  CapacityAvailable is False: 1 replica of v2 cannot start, 1 GPU each; the first is u."
    )


def test_an_outage_with_a_floor_on_schedule() -> None:
    window = WarmWindow(from_s=START_S - 60.0, until_s=START_S + 60.0, floor=3)
    silent = ready("mute", load=Missing(why="connection refused"))

    assert told(seen(fleet(silent, starting())), policy(warm_floor=1, warm_windows=(window,))) == (
        "models/llama at noon\n"
        "  v1: asked for 2, 1 ready, 1 starting.\n"
        "    Kept, since the demand is not known: 1 of 1 ready replicas of v1 cannot be read;"
        " mute: connection refused.\n"
        "    Warm pool: the warm pool keeps 3 on schedule: 2 becomes 3.\n"
        "    Load time: half of the starts within 300 s, 90 % within 420 s, from 1 start measured"
        " (waiting for a node 1 s, pulling 99 s, initialising 10 s, loading 190 s).\n"
        "    So v1 should have 3.\n"
        "  Told: v1 has 3 replicas.\n"
        "  SignalsHealthy is False: Serve: 1 of 1 ready replicas of v1 cannot be read; mute: connection refused;"
        " what is there is kept."
    )


def test_a_fleet_that_cannot_be_seen_is_told() -> None:
    assert "  v1: nothing is said of it, since its replicas are not known (the API server is away)." in told(
        seen(Missing(why="the API server is away"))
    )


def test_moving_traffic_is_told_with_all_weights() -> None:
    observation = seen({"v1": fleet(*serving(2)), "v2": fleet(*serving(1))}, weights={"v1": 100, "v2": 0})

    text = told(observation, releasing((60, 300.0), (100, 0.0)))

    assert "  Release: 0 % of the traffic, now 60 %: the first step sends 60 % to v2.\n" in text
    assert "  Told: the route sends v1 40 %, v2 60 %." in text


def test_one_replica_is_one_replica() -> None:
    assert "Told: v1 has 1 replica." in told(seen(fleet(requested=0)))


def test_what_is_left_to_others_is_not_called_unchanged() -> None:
    busy = seen(fleet(*serving(1, running=48.0)))

    assert "  The policy leaves it to others to write this." in told(busy, policy(actuation=Actuation.ADVISE))
    assert "  Nothing has to change." in told(seen(fleet(*serving(1))), policy(actuation=Actuation.ADVISE))


def test_a_summary_tells_the_change_the_need_and_what_altered_it() -> None:
    grown = plan_of(seen(fleet(*serving(1, running=48.0)))).targets[0]
    kept = plan_of(seen(fleet(*serving(4)))).targets[0]

    assert summary(grown) == (
        "v1: 1 to 2. Needed: 2 replicas for 48 running and 0 waiting requests at 24 to a replica."
    )
    assert summary(kept) == (
        "v1: stay at 4. Needed: 1 replica for 0 running and 0 waiting requests at 24 to a replica; "
        "watched too short: the demand has been seen for 0 s without a gap, shrinking needs 120 s."
    )


def test_an_explanation_needs_no_load_time() -> None:
    plan = plan_of(seen(fleet(*serving(1))))

    assert "Load time" not in explain(replace(plan, load_times={}), seen(fleet(*serving(1))), "noon")
