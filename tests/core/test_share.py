"""GPUs that are short: who gets which, who gives way, and what noise may not do.

A property runs twice, as in `test_promises`: against the core, and against the core with one wrong part.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scaler.core import share
from scaler.core.decide import decide, decide_again
from scaler.core.limits import Case
from scaler.core.memory import CapacityMemory, Memory
from scaler.core.model import Actuation, Fleet, Missing, Observation, Policy, Pool, Pools, Quota, Snapshot
from scaler.core.plan import Portion, Ruling, SetReplicas
from scaler.core.share import Claim, _filled, _giving, _portion, _products, _rank, _shared, _Source, portions_of
from tests.builders import START_S, fleet, key, sample, seen, serving, unschedulable
from tests.core.one_pool import OnePool, model, turns

some = settings(max_examples=150)
stories = settings(max_examples=5, deadline=None)
deadly = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    deadline=None,
)


def claim(name: str, want: int, **difference: object) -> Claim:
    """One model that has nothing and wants replicas of one GPU, without a floor."""
    plain = Claim(
        policy=f"models/{name}",
        namespace="models",
        key=key(),
        priority=0,
        gpus=1,
        floor=0,
        want=want,
        has=0,
        going=0,
        pending=0,
        products=("H100",),
    )
    return replace(plain, **difference)  # type: ignore[arg-type]  # named by the test


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


# --- Properties --------------------------------------------------------------------------------------------------

counts = st.integers(0, 6)


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Claim], Pools]:
    """Any models on two products, with a quota or without."""
    claims = [
        claim(
            f"m{number}",
            draw(st.integers(0, 10)),
            priority=draw(st.sampled_from([0, 0, 5, 10])),
            gpus=draw(st.sampled_from([1, 1, 2, 4])),
            floor=draw(st.sampled_from([0, 0, 1, 3])),
            has=draw(counts),
            going=draw(st.sampled_from([0, 0, 2])),
            pending=draw(st.sampled_from([0, 0, 2])),
            products=draw(st.sampled_from([("H100",), ("H100",), ("L40S",), ("H100", "L40S"), ()])),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    products = tuple(
        Pool(product=name, allocatable_gpus=64, free_gpus=draw(st.integers(0, 8))) for name in ("H100", "L40S")
    )
    quota = Quota(namespace="models", hard_gpus=64, left_gpus=draw(st.integers(0, 8)))
    return claims, Pools(products=products, quotas=draw(st.sampled_from([(), (quota,)])))


def no_more_is_handed_out_than_is_free(market: tuple[list[Claim], Pools]) -> None:
    """Of each product, and of each quota.

    Kills: what is to come free is handed out; a replica is one GPU.
    """
    claims, pools = market
    assert isinstance(pools.products, tuple)
    assert isinstance(pools.quotas, tuple)
    portions = portions_of(claims, pools)
    more = {
        each.name: each.gpus * max(0, portions[each.name].granted - each.has)
        for each in claims
        if each.name in portions
    }

    by_product = {each.product: 0 for each in pools.products}
    for each in claims:
        if len(each.products) == 1:
            by_product[each.products[0]] += more.get(each.name, 0)
    free = sum(each.free_gpus for each in pools.products)
    is_joined = any(len(each.products) > 1 for each in claims)
    for pool in pools.products:
        assert by_product[pool.product] <= (free if is_joined else pool.free_gpus)
    for quota in pools.quotas:
        waiting = sum(each.pending * each.gpus for each in claims)
        assert sum(more.values()) <= quota.left_gpus + waiting


def nobody_is_left_below_its_floor_for_others(market: tuple[list[Claim], Pools]) -> None:
    """A floor may be asked for whatever is free, is never given away, and is filled before anybody's wish.

    Kills: priority before floors; floors are capped.
    """
    claims, pools = market
    portions = portions_of(claims, pools)
    for each in claims:
        portion = portions.get(each.name)
        if portion is None:
            continue
        assert portion.ceiling >= min(each.floor, each.want)
        assert portion.ceiling >= min(each.has, each.want)
        if portion.granted < min(each.floor, each.want) and each.products == ("H100",):
            assert not any(
                other.products == ("H100",)
                and other.gpus >= each.gpus
                and other.has >= other.floor
                and portions[other.name].granted > other.has
                for other in claims
                if other.name in portions
            )


def a_higher_priority_is_served_first(market: tuple[list[Claim], Pools]) -> None:
    """Where one wants more, no lower one of its kind is to keep more than its floor.

    Kills: lower priorities first; everybody is equal.
    """
    claims, pools = market
    alike = [replace(each, gpus=1, products=("H100",)) for each in claims]
    portions = portions_of(alike, pools)
    for high in alike:
        for low in alike:
            if high.name in portions and low.name in portions and high.priority > low.priority:
                is_unmet = portions[high.name].facts["part"] < high.want
                assert not is_unmet or portions[low.name].facts["part"] <= low.floor


def equals_differ_by_no_more_than_they_want(market: tuple[list[Claim], Pools]) -> None:
    """Where two of one priority want more than they get, one has no more than a replica above the other.

    Kills: the first takes all.
    """
    claims, pools = market
    alike = [replace(each, gpus=1, floor=0, products=("H100",)) for each in claims]
    portions = portions_of(alike, pools)
    for one in alike:
        for other in alike:
            if one.name in portions and other.name in portions and one.priority == other.priority:
                is_unmet = portions[one.name].facts["part"] < one.want
                assert not is_unmet or portions[other.name].facts["part"] <= portions[one.name].facts["part"] + 1


@st.composite
def pools_at_work(draw: st.DrawFn) -> tuple[OnePool, list[int]]:
    """Three models on too few GPUs, and how far from its mean each want is off, tick by tick."""
    floors = [draw(st.sampled_from([1, 1, 2])) for _ in range(3)]
    priorities = [draw(st.sampled_from([0, 0, 5])) for _ in range(3)]
    means = {name: draw(st.integers(3, 7)) for name in ("a", "b", "c")}
    noise = draw(st.lists(st.sampled_from([-1, 0, 0, 1]), min_size=7, max_size=23))
    policies = tuple(
        model(name, priority, warm_floor=floor) for name, priority, floor in zip(means, priorities, floors, strict=True)
    )

    def needs(name: str, for_s: float) -> int:
        return means[name] + noise[(int(for_s / 15.0) + 5 * ord(name)) % len(noise)]

    pool = OnePool(gpus=draw(st.integers(sum(floors), 12)), policies=policies, needs=needs)
    pool.begin(**dict.fromkeys(means, 2))
    return pool, floors


def noise_moves_nothing(story: tuple[OnePool, list[int]]) -> None:
    """Once it has settled nobody's count turns, though the wants swing at the limit; and floors are kept.

    Kills: no hold before giving way.
    """
    pool, floors = story
    told = pool.run(1800.0)
    rest = pool.run(3600.0)
    for name, floor in zip(("a", "b", "c"), floors, strict=True):
        assert all(asked[name] >= min(floor, 2) for asked in (*told, *rest))
        assert turns(asked[name] for asked in rest) <= MOST_TURNS


MOST_TURNS = 4
"""The flap budget that one model begins with, and what an hour and a half gives it: others' turns cost it nothing."""

PROPERTIES: dict[Callable[..., None], st.SearchStrategy[object]] = {
    no_more_is_handed_out_than_is_free: markets(),
    nobody_is_left_below_its_floor_for_others: markets(),
    a_higher_priority_is_served_first: markets(),
    equals_differ_by_no_more_than_they_want: markets(),
    noise_moves_nothing: pools_at_work(),
}


def named(promise: Callable[..., None]) -> str:
    return promise.__name__


@pytest.mark.parametrize("promise", PROPERTIES, ids=named)
def test_a_property_holds(promise: Callable[..., None]) -> None:
    how = stories if promise is noise_moves_nothing else some
    how(given(PROPERTIES[promise])(promise))()


# --- Mutants -----------------------------------------------------------------------------------------------------


def what_is_to_come(*how: object) -> _Source:
    """What others will give is handed out before it is free."""
    source = _shared(*how)  # type: ignore[arg-type]  # passed on as they came
    return replace(source, free_gpus=source.settled_gpus)


def one_gpu_each(claims: Sequence[Claim], *how: object) -> dict[int, int]:
    """A replica of many GPUs is counted as one."""
    return _filled([replace(each, gpus=1) for each in claims], *how)  # type: ignore[arg-type]  # as above


def priority_alone(each: Claim, given: int) -> tuple[bool, int, int, int]:
    """Floors are no better than wishes."""
    return (True, *_rank(each, given)[1:])


def no_floor_to_ask_for(*how: object, **given: int) -> Portion:
    """A floor is asked for only when it is free."""
    portion = _portion(*how, **given)  # type: ignore[arg-type]  # as above
    return replace(portion, ceiling=portion.granted)


def lowest_first(each: Claim, given: int) -> tuple[bool, int, int, int]:
    """Priorities the other way round."""
    below, priority, *rest = _rank(each, given)
    return (below, -priority, rest[0], rest[1])


def all_equal(each: Claim, given: int) -> tuple[bool, int, int, int]:
    """No priorities."""
    below, _, *rest = _rank(each, given)
    return (below, 0, rest[0], rest[1])


def first_takes_all(each: Claim, given: int) -> tuple[bool, int, int, int]:
    """Among equals whoever came first is filled before the next."""
    below, priority, *_ = _rank(each, given)
    return (below, priority, 0, 0)


def at_once(case: Case, portion: Portion) -> Ruling | None:
    """Others' claims need not last."""
    memory = replace(case.memory, shared_from_s=0.0, kept=())
    return _giving(replace(case, memory=memory), replace(portion, keeps=int(portion.facts["part"])))


MUTANTS: dict[str, tuple[Callable[..., None], str, object]] = {
    "what is to come free is handed out": (no_more_is_handed_out_than_is_free, "_shared", what_is_to_come),
    "a replica is one GPU": (no_more_is_handed_out_than_is_free, "_filled", one_gpu_each),
    "priority before floors": (nobody_is_left_below_its_floor_for_others, "_rank", priority_alone),
    "floors are capped": (nobody_is_left_below_its_floor_for_others, "_portion", no_floor_to_ask_for),
    "lower priorities first": (a_higher_priority_is_served_first, "_rank", lowest_first),
    "everybody is equal": (a_higher_priority_is_served_first, "_rank", all_equal),
    "the first takes all": (equals_differ_by_no_more_than_they_want, "_rank", first_takes_all),
    "no hold before giving way": (noise_moves_nothing, "_giving", at_once),
}


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(each, marks=pytest.mark.slow) if each == "no hold before giving way" else each for each in MUTANTS],
)
def test_a_mutant_is_killed(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    promise, name, part = MUTANTS[mutant]
    assert mutant in " ".join((promise.__doc__ or "").split()), "the property's docstring names the mutants it kills"
    monkeypatch.setattr(share, name, part)

    with pytest.raises(AssertionError):
        deadly(given(PROPERTIES[promise])(promise))()


def test_every_property_kills_a_mutant() -> None:
    assert {promise for promise, *_ in MUTANTS.values()} == set(PROPERTIES)
