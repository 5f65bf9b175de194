"""What holds for any models on GPUs that are short: who comes first, who keeps what, and what noise may not do.

A property runs twice, as that of a promise does: against the core, and against the core with one wrong part.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scaler.core import share
from scaler.core.limits import Case
from scaler.core.model import Pool, Pools, Quota
from scaler.core.plan import Portion, Ruling
from scaler.core.share import Claim, _filled, _giving, _portion, _rank, _shared, _Source, portions_of
from tests.core.claims import claim
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
