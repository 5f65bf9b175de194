"""A scenario as it is played: the same for the same seed, events at their time, metrics as they would be read."""

from dataclasses import replace

import numpy as np

from scaler.core.model import Fleet, FleetSeen, Load, Missing, Observation, Pool, Pools, Replica
from scaler.sim.cluster import Cluster
from scaler.sim.nodes import numbered
from scaler.sim.scenarios.run import Played, Scraped, played, pools_of
from scaler.sim.scenarios.setting import SERVICE, Beside, Event, Setting, nodes
from scaler.sim.scenarios.traffic import Traffic, chat, course, prompt_lengths
from tests.builders import key, load, ready


def short(*, events: tuple[Event, ...] = (), warm: int = 2) -> Setting:
    return Setting(traffic=chat(course((0, 1), (600, 1))), warm=warm, events=events)


def same(one: Played, other: Played) -> bool:
    return np.array_equal(one.run.ttft_s, other.run.ttft_s, equal_nan=True) and one.decisions == other.decisions


def test_one_seed_is_one_run_and_another_seed_another() -> None:
    first, again, other = (played(short(), seed) for seed in (1, 1, 2))

    assert same(first, again)
    assert not same(first, other)


def test_an_event_happens_between_the_decisions_around_it() -> None:
    def gone(cluster: Cluster) -> None:
        cluster.remove_node(cluster.nodes[0].name)

    run = played(short(events=(Event(at_s=100.0, happens=gone),)), 1)

    ready_at = {decision.plan.at_s: len(ready_of(decision.observation)) for decision in run.decisions}
    assert (ready_at[97.5], ready_at[112.5]) == (2, 1)


def ready_of(observation: Observation) -> tuple[Replica, ...]:
    fleet = observation.fleets[0].fleet
    assert isinstance(fleet, Fleet)
    return fleet.ready()


def test_models_beside_each_other_share_the_nodes_and_have_a_chance_of_their_own() -> None:
    other = Beside(name="models/other", traffic=short().traffic, warm=3, priority=4, least=2)

    run = played(replace(short(), beside=(other,), pools=(nodes(4),)), 1)

    beside = run.beside["models/other"]
    counts = [len(ready_of(each.decisions[0].observation)) for each in (run, beside)]
    assert counts == [2, 2]  # the third found no node
    assert not np.array_equal(run.requests.arrival_s, beside.requests.arrival_s)
    assert {each.plan.policy for each in beside.decisions} == {"models/other"}


def test_the_gpus_are_counted_by_product_as_they_are_taken() -> None:
    there = numbered(nodes(3), 0)
    there[0].take(1, "image")

    assert pools_of([*there, *numbered(replace(nodes(2), node_class="H100"), 0)]) == Pools(
        products=(
            Pool(product="H100", allocatable_gpus=2, free_gpus=2),
            Pool(product="L40S", allocatable_gpus=3, free_gpus=2),
        ),
        quotas=(),
    )


def test_the_policy_is_that_of_the_setting() -> None:
    asked = replace(short(), most=7, expected_s=33.0, pools=(nodes(3),)).policy

    assert (asked.name, asked.max_replicas, asked.loading.expected_s) == (SERVICE, 7, 33.0)


def test_prompts_grow_by_the_factor_of_their_second_and_answers_stay() -> None:
    plain = Traffic(rps=np.full(100, 20.0), lengths=prompt_lengths())
    factor = np.where(np.arange(100) < 50, 1.0, 10.0)

    before, after = plain.requests("r", 1), replace(plain, prompt_factor=factor).requests("r", 1)

    early = before.arrival_s < 50.0
    assert np.array_equal(after.prompt_tokens[early], before.prompt_tokens[early])
    assert np.array_equal(after.prompt_tokens[~early], 10 * before.prompt_tokens[~early])
    assert np.array_equal(after.output_tokens, before.output_tokens)


# --- What is read of it ------------------------------------------------------------------------------------------


def observed(said: Load | Missing) -> Observation:
    fleet = Fleet(requested=1, replicas=(ready("a", load=said),))
    return Observation(fleets=(FleetSeen(key=key(), fleet=fleet),))


def read_of(scraped: Scraped, said: Load | Missing) -> Load | Missing:
    (replica,) = ready_of(scraped.seen(observed(said)))
    return replica.load


def test_gauges_have_a_noise_of_one_per_cent() -> None:
    scraped = Scraped(1)

    read = [said.running for _ in range(2000) if isinstance(said := read_of(scraped, load(running=100.0)), Load)]

    assert 0.5 < np.std(read) < 1.5
    assert abs(np.mean(read) - 100.0) < 0.2


def test_one_scrape_in_fifty_is_lost_and_the_sample_before_it_stands() -> None:
    scraped = Scraped(1)

    read = [read_of(scraped, load(at_s=float(at_s))) for at_s in range(2000)]

    lost = [at_s for at_s, said in enumerate(read) if isinstance(said, Load) and said.at_s < at_s]
    assert 20 < len(lost) < 60


def test_what_is_missing_stays_missing() -> None:
    gone = Missing(why="it was not scraped")

    assert read_of(Scraped(1), gone) == gone
