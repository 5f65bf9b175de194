"""The work before a role: known when every ready replica has told it, lately and sensibly, and otherwise missing."""

from dataclasses import replace
from math import inf, nan

import pytest

from scaler.core.demand import as_believed, demand_of, unheard
from scaler.core.model import NO_PICKER, Demand, Load, Missing, Observation, Replica, Role, Tokens, Work
from tests.builders import START_S, fleet, load, lost, policy, ready, seen, serving, starting, work

SILENT = Missing(why="connection refused")
UNCOUNTED = Missing(why="a: its engine counts no tokens")


def demand(observation: Observation) -> Demand | Missing:
    return demand_of(Role.SERVE, observation, policy(), START_S)


def why(*replicas: Replica) -> str:
    """What is missing when these replicas are all of version v1."""
    missing = demand(seen(fleet(*replicas)))
    assert isinstance(missing, Missing)
    return missing.why


# --- What is known -----------------------------------------------------------------------------------------------


def test_the_work_of_all_ready_replicas_is_added_up_as_of_the_oldest_sample() -> None:
    first = ready("a", load=load(running=3.0, waiting=1.0, kv_usage=0.25, at_s=START_S - 40.0))
    second = ready("b", load=load(running=4.0, waiting=0.0, kv_usage=0.5, at_s=START_S - 10.0))

    known = demand(seen(fleet(first, second)))

    assert known == Demand(at_s=START_S - 40.0, running=7.0, waiting=1.0, kv_replicas=0.75, tokens=UNCOUNTED)


def test_the_work_of_all_versions_is_one_demand() -> None:
    known = demand(seen({"v1": fleet(*serving(2, running=3)), "v2": fleet(*serving(1, running=5))}))

    assert known == Demand(
        at_s=START_S, running=11.0, waiting=0.0, kv_replicas=0.0, tokens=Missing(why="r0: its engine counts no tokens")
    )


def test_another_role_is_another_demand() -> None:
    observation = seen(fleet(*serving(2, running=3)))

    assert demand_of(Role.DECODE, observation, policy(), START_S) == Missing(
        why="no replica is ready, so nobody can say how much work there is"
    )


def test_what_waits_at_the_gateway_is_work() -> None:
    known = demand(replace(seen(fleet(*serving(2, waiting=1))), gateway_waiting=30.0))

    assert isinstance(known, Demand)
    assert known.waiting == 32.0


def test_what_the_gateway_and_the_engines_refuse_is_added_up() -> None:
    refusing = replace(load(), work=replace(work(), refused_per_s=0.5))
    observation = seen(fleet(ready("a", load=refusing), ready("b", load=refusing), *serving(1)))

    known = demand(replace(observation, gateway_waiting=0.0, gateway_refused_per_s=2.0))

    assert isinstance(known, Demand)
    assert known.refused_per_s == 3.0


@pytest.mark.parametrize("refused_per_s", [nan, inf, -1.0, 1e9])
def test_absurd_refusals_hide_the_demand(refused_per_s: float) -> None:
    observation = replace(seen(fleet(*serving(2))), gateway_waiting=0.0, gateway_refused_per_s=refused_per_s)

    assert demand(observation) == Missing(
        why=f"the endpoint picker's refusals cannot be read: absurd value, {refused_per_s:g} a second"
    )


def test_a_queue_of_a_million_is_the_most_that_is_believed() -> None:
    assert isinstance(demand(replace(seen(fleet(*serving(1))), gateway_waiting=1e6)), Demand)


def test_a_policy_without_an_endpoint_picker_lacks_nothing() -> None:
    observation = seen(fleet(*serving(1, waiting=1)))

    assert observation.gateway_waiting == NO_PICKER
    assert isinstance(demand(observation), Demand)


def test_starting_and_lost_replicas_have_no_say() -> None:
    silent = replace(lost(), load=SILENT)

    assert demand(seen(fleet(*serving(2, running=3), starting(), silent))) == demand(
        seen(fleet(*serving(2, running=3)))
    )


@pytest.mark.parametrize("kv_usage", [1.0, 1.05])
def test_a_full_cache_may_be_over_one_by_rounding(kv_usage: float) -> None:
    assert isinstance(demand(seen(fleet(*serving(1, kv_usage=kv_usage)))), Demand)


# --- What the engines count --------------------------------------------------------------------------------------

BUSY = load(running=10.0, kv_usage=0.2)
COUNTED = replace(BUSY, work=work(prefill=4000.0, decode=1000.0, finished=5.0, inter_token_latency_s=0.02))
ONCE = Missing(why="it was scraped only once")


def tokens(*replicas: Replica) -> Tokens | Missing:
    """What these replicas are told to have served."""
    known = demand(seen(fleet(*replicas)))
    assert isinstance(known, Demand)
    return known.tokens


def test_the_tokens_of_all_ready_replicas_are_added_up() -> None:
    """Twenty running requests use 0.4 caches: a fiftieth each."""
    assert tokens(ready("a", load=COUNTED), ready("b", load=COUNTED)) == Tokens(
        prefill_per_s=8000.0, decode_per_s=2000.0, requests_per_s=10.0, cache_share=0.02
    )


@pytest.mark.parametrize(
    ("running", "kv_usage", "cache_share"), [(0.0, 0.5, 0.0), (0.9, 0.5, 0.0), (1.0, 0.5, 0.5), (1.0, 1.05, 1.0)]
)
def test_the_cache_of_a_request_is_told_from_one_that_runs(running: float, kv_usage: float, cache_share: float) -> None:
    told = tokens(ready(load=replace(COUNTED, running=running, kv_usage=kv_usage)))

    assert isinstance(told, Tokens)
    assert told.cache_share == cache_share


def test_one_replica_that_counts_no_tokens_hides_those_of_all() -> None:
    mute = ready("mute", age_s=61.0, load=replace(BUSY, work=ONCE))

    assert tokens(ready("a", load=COUNTED), mute) == Missing(why="mute: it was scraped only once")


def test_a_replica_that_has_had_no_time_to_be_read_twice_may_count_nothing_yet() -> None:
    fresh = ready("n", age_s=60.0, load=replace(load(), work=ONCE))

    assert tokens(ready("a", load=COUNTED), fresh) == tokens(ready("a", load=COUNTED))
    assert tokens(fresh) == Missing(why="the replicas that are ready were scraped only once")


@pytest.mark.parametrize("absurd", [nan, inf, -inf, -1.0, 1e10])
@pytest.mark.parametrize(
    "field",
    [
        "prefill_tokens_per_s",
        "decode_tokens_per_s",
        "finished_per_s",
        "inter_token_latency_s",
        "prefilling",
        "refused_per_s",
    ],
)
def test_absurd_rates_are_no_rates(field: str, absurd: float) -> None:
    assert isinstance(COUNTED.work, Work)
    odd = replace(COUNTED, work=replace(COUNTED.work, **{field: absurd}))

    missing = tokens(ready("a", load=COUNTED), ready("odd", load=odd))

    assert isinstance(missing, Missing)
    assert missing.why.startswith("odd: absurd rates: ")


def test_an_absurd_rate_is_told() -> None:
    odd = replace(BUSY, work=work(prefill=-1.0, decode=2.0, finished=3.0))

    assert tokens(ready("odd", load=odd)) == Missing(
        why="odd: absurd rates: -1 prefill and 2 decode tokens a second, 3 requests a second"
    )


def test_what_may_be_learned_from_has_no_load_that_is_not_believed() -> None:
    odd = ready("odd", load=replace(COUNTED, work=work(prefill=nan, inter_token_latency_s=0.02)))
    ahead, huge = ready("ahead", load=replace(COUNTED, at_s=START_S + 3600.0)), ready("huge", load=load(running=1e9))
    told = ready("a", load=COUNTED)

    first, *rest = as_believed(fleet(told, odd, ahead, huge), policy(), START_S).replicas

    assert first == told
    assert [isinstance(each.load, Missing) for each in rest] == [False, True, True]
    assert isinstance(rest[0].load, Load)
    assert isinstance(rest[0].load.work, Missing)


# --- What is missing ---------------------------------------------------------------------------------------------


def test_one_silent_replica_hides_the_whole_demand() -> None:
    missing = why(*serving(2, running=30), ready("mute", load=SILENT))

    assert missing == "1 of 3 ready replicas of v1 cannot be read; mute: connection refused"


def test_the_first_of_several_silent_replicas_is_named() -> None:
    missing = why(ready("a", load=SILENT), *serving(1), ready("b", load=SILENT))

    assert missing == "2 of 3 ready replicas of v1 cannot be read; a: connection refused"


def test_a_sample_counts_until_the_last_second_of_its_time() -> None:
    assert isinstance(demand(seen(fleet(ready(load=load(at_s=START_S - 90.0))))), Demand)
    assert why(ready("old", load=load(at_s=START_S - 91.0))) == (
        "1 of 1 ready replicas of v1 cannot be read; old: its last sample is 91 s old, the limit is 90 s"
    )


def test_a_sample_of_the_future_is_a_clock_gone_wrong() -> None:
    assert isinstance(demand(seen(fleet(ready(load=load(at_s=START_S + 90.0))))), Demand)
    assert why(ready("ahead", load=load(at_s=START_S + 600.0))).endswith(
        "ahead: its last sample is 600 s ahead of the clock, the limit is 90 s"
    )
    assert "a: its last sample" in why(ready("a", load=load(at_s=nan)))


@pytest.mark.parametrize("absurd", [nan, inf, -inf, -1.0, 1e9])
@pytest.mark.parametrize("field", ["running", "waiting", "kv_usage"])
def test_absurd_values_are_no_values(field: str, absurd: float) -> None:
    told = replace(load(running=1.0), **{field: absurd})  # type: ignore[arg-type]  # named above

    assert "odd: absurd values: " in why(*serving(3), ready("odd", load=told))


def test_an_absurd_value_is_told() -> None:
    told = load(running=-1.0, waiting=2.0, kv_usage=0.5)

    assert why(ready("odd", load=told)).endswith("odd: absurd values: -1 running, 2 waiting, KV use 0.5 of 1")


def test_a_replica_that_has_just_become_ready_may_be_silent_for_a_minute() -> None:
    fresh, late = ready("n", age_s=60.0, load=SILENT), ready("n", age_s=61.0, load=SILENT)

    assert demand(seen(fleet(*serving(2, running=3), fresh))) == demand(seen(fleet(*serving(2, running=3))))
    assert why(*serving(2), late) == "1 of 3 ready replicas of v1 cannot be read; n: connection refused"


def test_nobody_ready_and_nobody_read_yet_are_told_apart() -> None:
    assert why(starting()) == "no replica is ready, so nobody can say how much work there is"
    assert why(ready("n", age_s=5.0, load=SILENT)) == (
        "the ready replicas have only just become so, and none was read yet"
    )


def test_a_fleet_that_cannot_be_seen_hides_the_demand_of_all_versions() -> None:
    observation = seen({"v1": fleet(*serving(2)), "v2": Missing(why="the API server is away")})

    assert demand(observation) == Missing(why="the replicas of v2 are not known: the API server is away")


def test_a_version_is_named_where_one_of_its_replicas_is_silent() -> None:
    observation = seen({"v1": fleet(*serving(2)), "v2": fleet(ready("b", load=SILENT))})

    assert demand(observation) == Missing(why="1 of 1 ready replicas of v2 cannot be read; b: connection refused")


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        (Missing(why="it was not scraped"), "it was not scraped"),
        (nan, "absurd value, nan waiting"),
        (inf, "absurd value, inf waiting"),
        (-1.0, "absurd value, -1 waiting"),
        (1e9, "absurd value, 1e+09 waiting"),
    ],
)
def test_a_gateway_that_cannot_be_read_hides_the_demand(waiting: float | Missing, reason: str) -> None:
    """The 300 requests it held back a moment ago are still there."""
    observation = replace(seen(fleet(*serving(2))), gateway_waiting=waiting)

    assert demand(observation) == Missing(why=f"the endpoint picker's queue cannot be read: {reason}")


# --- What a known demand does not count --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replica", "is_unheard"),
    [
        (ready(), False),
        (starting(), False),
        (ready(age_s=30.0, load=SILENT), True),
        (ready(age_s=30.0, load=load(running=nan)), True),
        (lost(for_s=1800.0), True),
        (lost(for_s=1801.0), False),
        (replace(lost(), unready_since_s=None), True),
        (replace(lost(), deleted_at_s=START_S), False),
    ],
    ids=["read", "starting", "unread", "absurd", "lost", "failed", "lost somewhen", "draining"],
)
def test_lost_and_unread_replicas_are_unheard(replica: Replica, *, is_unheard: bool) -> None:
    observation = seen({"v1": fleet(*serving(2)), "v2": fleet(replica)})

    assert unheard(Role.SERVE, observation, policy(), START_S) == ((replica,) if is_unheard else ())


def test_a_replica_counts_for_the_part_of_the_minute_that_it_was_ready_in() -> None:
    """One that has served for 15 s at the rate of the other adds a quarter of it to the minute."""
    each = replace(load(running=8.0), work=work(prefill=400.0, decode=80.0, finished=2.0))
    told = demand(seen(fleet(ready("old", load=each), ready("new", age_s=15.0, load=each))))

    assert isinstance(told, Demand)
    assert told.tokens == Tokens(prefill_per_s=500.0, decode_per_s=100.0, requests_per_s=2.5, cache_share=0.0)
