"""GPUs that are short, by example: who gets which, who gives way, and who has to wait."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from scaler.core.decide import decide, decide_again
from scaler.core.memory import CapacityMemory, Memory
from scaler.core.model import Actuation, Fleet, Missing, Observation, Policy, Pool, Pools, Quota, Snapshot
from scaler.core.plan import Portion, SetReplicas
from scaler.core.share import Claim, _products, portions_of
from tests.builders import START_S, fleet, key, sample, seen, serving, unschedulable
from tests.core.claims import claim
from tests.core.one_pool import OnePool, model, turns


def h100(free: int, whole: int = 12) -> Pools:
    return Pools(products=(Pool(product="H100", allocatable_gpus=whole, free_gpus=free),))


def shared_out(claims: Sequence[Claim], pools: Pools) -> dict[str, Portion]:
    """The portions by model, of those who are short."""
    return {policy.partition("/")[2]: portion for (policy, _), portion in portions_of(claims, pools).items()}


def granted(claims: Sequence[Claim], pools: Pools) -> dict[str, int]:
    return {name: portion.granted for name, portion in shared_out(claims, pools).items()}


# --- Who gets what is free ---------------------------------------------------------------------------------------


def test_floors_come_first_then_priorities() -> None:
    claims = [
        claim("low", 8, floor=2),
        claim("high", 8, floor=1, priority=10),
        claim("middle", 8, floor=1, priority=5),
    ]

    assert granted(claims, h100(12)) == {"high": 8, "middle": 2, "low": 2}
    assert granted(claims, h100(6)) == {"high": 3, "middle": 1, "low": 2}
    assert granted(claims, h100(2)) == {"high": 1, "middle": 1, "low": 0}


def test_equals_are_filled_like_water() -> None:
    assert granted([claim("small", 2), claim("a", 9), claim("b", 9)], h100(12)) == {"small": 2, "a": 5, "b": 5}


def test_what_is_not_short_is_nobodys_portion() -> None:
    assert portions_of([claim("a", 6), claim("b", 6)], h100(12)) == {}


def test_gpus_that_nobody_has_counted_bind_nobody() -> None:
    assert portions_of([claim("a", 60)], Pools()) == {}


def test_what_is_on_its_way_out_is_handed_out_once_it_is_free() -> None:
    claims = [claim("giver", 4, has=4, going=2), claim("taker", 6, has=2, priority=1)]

    portions = shared_out(claims, h100(1))

    assert portions["taker"].granted == 3
    assert portions["giver"].keeps == 3


def test_a_replica_of_many_gpus_is_not_starved_by_small_ones() -> None:
    """Three of the four GPUs that the big one needs are free: the small one has its part already, and waits."""
    claims = [claim("big", 2, gpus=4, has=1, priority=1), claim("small", 8, has=5)]

    assert granted(claims, h100(3)) == {"big": 1, "small": 5}


def test_products_are_shared_apart_unless_one_model_is_on_both() -> None:
    two = Pools(
        products=(
            Pool(product="H100", allocatable_gpus=4, free_gpus=1),
            Pool(product="L40S", allocatable_gpus=4, free_gpus=2),
        )
    )
    on_both = claim("both", 3, products=("H100", "L40S"))

    assert granted([claim("h", 3), claim("l", 2, products=("L40S",))], two) == {"h": 1}
    assert portions_of([on_both], two) == {}
    assert granted([claim("nowhere yet", 3, products=())], two) == {}


def test_where_there_is_one_product_a_model_that_is_nowhere_yet_is_sure_to_want_it() -> None:
    assert granted([claim("new", 3, products=())], h100(1)) == {"new": 1}


def test_at_zero_the_class_of_node_is_the_last_it_started_on_or_after_a_restart_the_one_it_was_learned_on() -> None:
    known = Memory(
        at_s=START_S,
        capacities=(
            CapacityMemory(key=key(), node_class="L40S", lines=3.0),
            CapacityMemory(key=key(), node_class="H100", lines=200.0),
            CapacityMemory(key=key("v2"), node_class="A100", lines=300.0),
        ),
        load_samples=(sample(120.0, node_class=None),),
    )
    started = replace(known, load_samples=(sample(120.0, node_class="L40S"), sample(120.0, node_class=None)))

    assert _products(key(), fleet(), known) == ("H100",)
    assert _products(key(), fleet(), started) == ("L40S",)
    assert _products(key(), fleet(*serving(1)), known) == ("H100",)
    assert _products(key("v3"), fleet(), known) == ()


def test_a_quota_bounds_its_own_namespace_only_and_lets_nobody_wait() -> None:
    pools = Pools(quotas=(Quota(namespace="models", hard_gpus=4, left_gpus=1),))
    claims = [claim("a", 6, has=2, pending=1), claim("b", 6, namespace="elsewhere")]

    portions = shared_out(claims, pools)

    assert portions.keys() == {"a"}
    assert portions["a"].ceiling == portions["a"].granted == 4


def test_the_first_in_line_may_wait_for_a_node_once_what_is_free_is_taken() -> None:
    claims = [claim("high", 8, has=2, priority=1), claim("low", 8, has=2)]

    full, some_free = shared_out(claims, h100(0)), shared_out(claims, h100(1))

    assert {name: each.ceiling for name, each in full.items()} == {"high": 3, "low": 2}
    assert {name: each.ceiling for name, each in some_free.items()} == {"high": 3, "low": 2}


def test_who_waits_already_is_not_overtaken_by_an_equal() -> None:
    portions = shared_out([claim("a", 8, has=2), claim("b", 8, has=2, pending=1)], h100(0))

    assert {name: each.ceiling for name, each in portions.items()} == {"a": 2, "b": 3}


def test_the_reason_says_whose_the_gpus_are() -> None:
    claims = [claim("high", 8, has=5, floor=1, priority=10), claim("low", 8, has=5, floor=2)]

    assert shared_out(claims, h100(1))["low"].because == (
        "11 of the 12 H100 are free or ours: the floors of others take 1, higher priorities 7, "
        "3 are for this model, which wants 8; 1 is free now, models/high has 5"
    )


# --- Who lays claim to anything ----------------------------------------------------------------------------------


def busy(requests: float = 240.0) -> Observation:
    return seen(fleet(*serving(1, running=requests)))


@pytest.mark.parametrize(
    ("asked", "observation"),
    [
        (model("a", paused=True), busy()),
        (model("a", actuation=Actuation.ADVISE), busy()),
        (model("a"), seen(Fleet(requested=1, replicas=serving(1, running=240.0)))),
        (model("a"), seen(Missing(why="the API server is away"))),
    ],
    ids=["paused", "advises", "no GPUs", "not seen"],
)
def test_who_holds_no_gpus_of_ours_gets_no_portion(asked: Policy, observation: Observation) -> None:
    (plan,) = decide(Snapshot(at_s=START_S, models={asked.name: observation}, pools=h100(0)), {}, [asked])

    assert plan.portions == ()


def test_growth_ends_where_what_is_free_ends_and_the_condition_says_who_has_it() -> None:
    asked = model("a", 3)
    (plan,) = decide(Snapshot(at_s=START_S, models={asked.name: busy()}, pools=h100(2)), {}, [asked])

    condition = {each.type: each for each in plan.conditions}["CapacityAvailable"]
    assert plan.commands == (SetReplicas(key=key(), replicas=3),)
    assert [ruling.rule for ruling in plan.targets[0].trail] == ["wish", "share"]
    assert (condition.status, condition.reason) == (False, "GpusShort")
    assert "3 of the 12 H100 are free or ours" in condition.message


def test_replicas_without_a_node_are_let_go_for_a_higher_priority() -> None:
    low, high = model("low"), model("high", 1)
    pools = h100(0)
    waiting = seen(fleet(*serving(2, running=120.0), unschedulable("u1", for_s=20.0), unschedulable("u2", for_s=20.0)))

    snapshot = Snapshot(at_s=START_S, models={low.name: waiting, high.name: busy()}, pools=pools)

    low_plan, high_plan = decide(snapshot, {}, [low, high])

    assert low_plan.targets[0].replicas == 2
    assert high_plan.targets[0].replicas == 2


def test_deciding_again_on_one_policy_takes_its_portion_as_given() -> None:
    low, high = model("low"), model("high", 1)
    snapshot = Snapshot(at_s=START_S, models={low.name: busy(), high.name: busy()}, pools=h100(3))

    plans = decide(snapshot, {}, [low, high])

    for asked, plan in zip((low, high), plans, strict=True):
        assert plan.portions
        memory = Memory(at_s=START_S)
        assert decide_again(asked, snapshot.models[asked.name], memory, plan.portions, START_S) == plan


# --- The two named scenarios -------------------------------------------------------------------------------------


def three_models(gpus: int = 12) -> OnePool:
    """Each wants 6 of them; a floor of one each."""
    policies = (model("low", 0), model("middle", 5), model("high", 10))
    return OnePool(gpus=gpus, policies=policies, needs=lambda *_: 6)


def test_three_models_with_three_priorities_on_one_pool() -> None:
    pool = three_models()
    pool.begin(low=10, middle=1, high=1)

    told = pool.run(1800.0)

    assert pool.has() == {"low": 1, "middle": 5, "high": 6}
    assert all(asked["low"] >= 1 for asked in told)
    assert all(turns(asked[name] for asked in told) == 0 for name in ("low", "middle", "high"))
    high_has_all = next(number for number, asked in enumerate(told) if asked["high"] == 6)
    middle_begins = next(number for number, asked in enumerate(told) if asked["middle"] > 2)
    assert high_has_all < middle_begins
    assert "the floors of others take 2, higher priorities 9, 1 are for this model" in pool.because("low", "share")


def test_giving_way_is_slow_and_has_its_reason() -> None:
    pool = three_models()
    pool.begin(low=10, middle=1, high=1)

    reasons, least = [], 10
    for _ in range(60):
        before = pool.asked()["low"]
        pool.tick()
        least = min(least, pool.asked()["low"] - before)
        reasons.append(pool.because("low", "give_way"))

    assert least >= -2, "a quarter of eight, as behavior.scaleDown allows by default"
    assert not any(reasons[:3]), "others must have had the better claim for a while"
    assert any("others have had a better claim to what is above 1" in each for each in reasons)


def test_gpus_for_half_of_what_is_wanted() -> None:
    pool = OnePool(gpus=8, policies=(model("a"), model("b")), needs=lambda *_: 8)
    pool.begin(a=1, b=1)

    told = pool.run(1800.0)

    assert pool.has() == {"a": 4, "b": 4}
    assert sum(told[-1].values()) == 9, "one may wait"
    assert told[-1] == told[-60], "and nothing moves any more"


def test_a_new_node_is_taken_at_once() -> None:
    pool = OnePool(gpus=4, policies=(model("a"), model("b")), needs=lambda *_: 8)
    pool.begin(a=1, b=1)
    pool.run(600.0)
    pool.gpus = 16

    pool.run(60.0)

    assert pool.asked() == {"a": 8, "b": 8}


def test_who_adds_nodes_for_what_waits_is_told_of_twice_as_much_each_time() -> None:
    """Nodes of one GPU come one by one, a minute after a pod waits for them."""
    pool = OnePool(gpus=2, policies=(model("a"), model("b")), needs=lambda *_: 16)
    pool.begin(a=1, b=1)

    waited: list[int] = []
    for _ in range(30):
        pool.run(60.0)
        waited.append(pool.waiting())
        pool.gpus += waited[-1]

    assert waited[:4] == [1, 2, 4, 8]
    assert pool.has() == {"a": 16, "b": 16}


def test_without_counted_gpus_a_model_grows_until_nothing_more_is_scheduled() -> None:
    pool = OnePool(gpus=8, policies=(model("a"), model("b")), needs=lambda *_: 8, counts_gpus=False)
    pool.begin(a=1, b=1)

    pool.run(600.0)

    assert pool.asked() == {"a": 8, "b": 8}
    assert sum(pool.has().values()) == 8
