"""What is kept of what was learned is believed again as before, and learned on from there as before."""

from collections.abc import Sequence
from dataclasses import astuple, replace
from math import isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.advice import advised
from scaler.core.capacity import Belief, belief_of, learned
from scaler.core.forecast import GROWTHS, TRENDS, calm_covered, growth_covered
from scaler.core.keeping import (
    CALM_STEPS_MOST,
    COUNTED_MOST_S,
    LEVELS_MOST,
    CapacityKept,
    calm_told,
    capacity_from,
    capacity_kept,
    course_from,
    growth_from,
    growth_told,
    levels_told,
    trends_from,
    trends_told,
)
from scaler.core.memory import CapacityMemory, Course
from scaler.core.model import Load, Role, Work
from scaler.sim.latency import LLAMA_8B_H100
from tests.builders import START_S, fleet, key, load, ready
from tests.core.engines import CODE, CONVERSATION, ROWS, TICK_S, Mix, Row, after, rounds
from tests.core.test_capacity import minutes

NOTHING = CapacityMemory(key=key(), node_class="H100")
CHAT = Row(engine=LLAMA_8B_H100, mix=CONVERSATION)
ANSWERS = Mix(name="answers", prompt=300.0, answer=600.0)
NEW = Course(role=Role.SERVE.value)

PASTS = {
    "five minutes at one level": rounds(20, 0.6),
    "a quarter of an hour": rounds(60, 0.2, 0.5, 0.8),
    "hours": rounds(240, 0.3, 0.5, 0.7, 0.9),
    "hours at one level": rounds(240, 0.5),
}


def kept_of(memory: CapacityMemory) -> CapacityKept:
    kept = capacity_kept(memory)
    assert kept is not None
    return kept


def again(memory: CapacityMemory) -> CapacityMemory:
    """What a restarted process knows of ``memory``."""
    made = capacity_from(kept_of(memory), memory.key, memory.node_class)
    assert made is not None
    return made


def belief(memory: CapacityMemory) -> Belief:
    told = belief_of(memory)
    assert told is not None
    return told


def apart(first: CapacityMemory, second: CapacityMemory, row: Row) -> float:
    """How far apart what both believe that a replica carries of these requests is."""
    return abs(belief(first).replicas(row.flow()) / belief(second).replicas(row.flow()) - 1.0)


# --- Capacity ----------------------------------------------------------------------------------------------------


def test_of_nothing_learned_nothing_is_kept() -> None:
    assert capacity_kept(NOTHING) is None


@pytest.mark.parametrize("past", PASTS.values(), ids=PASTS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_is_kept_is_believed_again(row: Row, past: Sequence[float]) -> None:
    """Mutant: `_sums` without the pull of the prior."""
    memory = after(after(NOTHING, row, past), replace(row, slow=1.1), rounds(4, 0.5))

    assert astuple(belief(again(memory))) == pytest.approx(astuple(belief(memory)), rel=1e-9)
    assert (again(memory).key, again(memory).node_class) == (memory.key, "H100")


@pytest.mark.parametrize("past", PASTS.values(), ids=PASTS)
@pytest.mark.parametrize(
    "change",
    [{}, {"slow": 2.0}, {"slow": 0.5}, {"mix": CODE}, {"mix": ANSWERS}],
    ids=["the same", "twice as slow", "twice as fast", "code", "long answers"],
)
def test_new_lines_move_it_as_they_would_have_within_a_hundredth(
    past: Sequence[float], change: dict[str, object]
) -> None:
    """The worst over all rows is 0.4 %. Mutant: squares of one line at the mean."""
    for row in ROWS:
        memory = after(NOTHING, row, past)
        restarted, new = again(memory), replace(row, **change)  # type: ignore[arg-type]  # named above
        for _ in range(6):
            shares = rounds(6, 0.4, 0.6)
            memory, restarted = after(memory, new, shares), after(restarted, new, shares)
            assert apart(restarted, memory, new) < 0.01, row


def test_where_two_mixes_were_learned_new_lines_move_it_as_they_would_have_within_a_tenth() -> None:
    """Two lines stand for one mix of requests at several levels of load, not for two mixes: 7 % at worst, then 3 %."""
    for row in ROWS:
        memory = after(after(NOTHING, row, rounds(120, 0.3, 0.6, 0.9)), replace(row, mix=ANSWERS), rounds(60, 0.3, 0.6))
        restarted = again(memory)
        for _ in range(10):
            shares = rounds(10, 0.4, 0.6)
            memory, restarted = after(memory, row, shares), after(restarted, row, shares)
            assert apart(restarted, memory, row) < 0.1, row
        assert apart(restarted, memory, row) < 0.04, row


def test_what_was_kept_twice_is_what_was_kept_once() -> None:
    once = again(after(NOTHING, CHAT, rounds(60, 0.2, 0.5, 0.8)))
    kept = kept_of(once)

    assert astuple(kept_of(again(once))) == pytest.approx(astuple(kept), rel=1e-6)


def test_a_restarted_belief_takes_any_sample_as_new() -> None:
    restarted = again(after(NOTHING, CHAT, rounds(60, 0.2, 0.5, 0.8)))

    assert restarted.at_s is None
    assert learned(restarted, fleet(CHAT.replica("a", 0.5, START_S - 9000.0))).lines > restarted.lines * 0.99


@pytest.mark.parametrize(
    "nonsense",
    [
        {"step_s": 0.0},
        {"step_s": -0.006},
        {"step_s": nan},
        {"step_s": 1e-6},
        {"step_s": 1e3},
        {"decode_s": 0.0},
        {"prefill_s": 1.0},
        {"cache_s": 1e-9},
        {"cache_s": nan},
        {"sequences_most": 0.0},
        {"sequences_most": 1e9},
        {"lines": 0.0},
        {"lines": -5.0},
        {"lines": nan},
        {"decode_share": -0.1},
        {"prefill_share": 1.5},
        {"cache_share": nan},
        {"spread": nan},
    ],
    ids=str,
)
def test_numbers_that_no_lines_can_have_told_are_not_known(nonsense: dict[str, float]) -> None:
    kept = kept_of(after(NOTHING, CHAT, rounds(60, 0.2, 0.5, 0.8)))

    assert capacity_from(kept, key(), None) is not None
    assert capacity_from(replace(kept, **nonsense), key(), None) is None


def test_more_weight_than_is_ever_counted_counts_as_the_most() -> None:
    kept = kept_of(after(NOTHING, CHAT, rounds(60, 0.2, 0.5, 0.8)))
    made = capacity_from(replace(kept, lines=9000.0), key(), None)

    assert made is not None
    assert made.lines == 400.0


@given(st.lists(st.lists(minutes(), min_size=1, max_size=3), min_size=1, max_size=6))
def test_whatever_was_learned_is_kept_as_something_positive_and_finite(ticks: list[list[Load]]) -> None:
    """Mutant: a spread that is not bounded by the mean."""
    memory = NOTHING
    for tick, loads in enumerate(ticks):
        at_s = START_S + tick * TICK_S
        replicas = [ready(f"r{index}", load=replace(each, at_s=at_s)) for index, each in enumerate(loads)]
        memory = learned(memory, fleet(*replicas))
    kept = capacity_kept(memory)
    if kept is not None:
        told = belief(again(memory))
        assert all(isfinite(value) and value > 0.0 for value in astuple(told)), told
        # What a fit holds at its bounds may be held at another after it: by a fifth to five times at most.
        assert told.step_s == pytest.approx(kept.step_s, rel=4.0)


def prefilled(memory: CapacityMemory, shares: Sequence[float], slow: float = 1.0) -> CapacityMemory:
    """``memory`` after four replicas that only prefill were busy for each of these shares of a minute."""
    step_s, prefill_s = 0.006 * slow, 20e-6 * slow
    for share in shares:
        at_s = START_S if memory.at_s is None else memory.at_s + TICK_S
        prefilling = share / (1.0 - share * share)  # R = rho*(1 + rho*R)
        requests_per_s = share / (1000.0 * prefill_s + share * step_s / prefilling)
        told = Work(
            prefill_tokens_per_s=1000.0 * requests_per_s,
            decode_tokens_per_s=requests_per_s,
            finished_per_s=requests_per_s,
            inter_token_latency_s=None,
            prefilling=prefilling,
        )
        minute = replace(load(running=prefilling, at_s=at_s), work=told)
        memory = learned(memory, fleet(*(ready(f"r{index}", load=minute) for index in range(4))))
    return memory


def test_of_replicas_that_only_prefill_it_is_believed_again_and_moved_as_it_would_have_been() -> None:
    memory = prefilled(CapacityMemory(key=key(role=Role.PREFILL), node_class="H100"), rounds(60, 0.2, 0.5, 0.8))
    restarted = again(memory)
    assert astuple(belief(restarted)) == pytest.approx(astuple(belief(memory)), rel=1e-9)
    assert belief(memory).prefill_s == pytest.approx(20e-6, rel=0.1)

    memory, restarted = (prefilled(each, rounds(40, 0.4, 0.6), slow=1.5) for each in (memory, restarted))

    assert belief(memory).prefill_s == pytest.approx(30e-6, rel=0.1)
    assert belief(restarted).prefill_s == pytest.approx(belief(memory).prefill_s, rel=0.01)


# --- How demand goes ---------------------------------------------------------------------------------------------


def test_growth_is_kept_by_its_factors() -> None:
    own = {1.0: 5600.0, 1.02: 30.5, 3.0: 160.0}
    known = replace(NEW, growth=tuple(own.get(step, 0.0) for step in GROWTHS))

    assert growth_told(known) == own
    assert growth_from(own) == known.growth
    assert growth_covered(replace(NEW, growth=growth_from(own)), 0.99) == 3.0


def test_growth_of_other_steps_counts_at_the_next_one() -> None:
    growth = growth_from({0.5: 10.0, 1.01: 20.0, 99.0: 30.0})

    assert growth_told(replace(NEW, growth=growth)) == {1.0: 10.0, 1.02: 20.0, GROWTHS[-1]: 30.0}


@pytest.mark.parametrize(
    "weights",
    [{}, {1.0: -5.0}, {1.0: nan}, {nan: 5.0}, {-1.0: 5.0}, {1.0: 1e9}, {1.0: 60_000.0, 1.2: 60_000.0}, {1.0: 0.0}],
    ids=str,
)
def test_growth_that_nobody_counted_is_not_known(weights: dict[float, float]) -> None:
    assert growth_from(weights) == ()


def test_forty_weights_are_counted_by_their_factors() -> None:
    growth = growth_from({1.0 + place / 10.0: 1.0 for place in range(40)})

    assert sum(growth) == 40.0


def test_trends_are_kept_by_their_edges() -> None:
    fell = tuple(60.0 if step in {1.0, 1.2} else 0.0 for step in GROWTHS)
    known = replace(NEW, trends=(fell, *[(0.0,) * len(GROWTHS)] * 3, fell))

    assert trends_told(known) == {0.0: ((1.0, 60.0), (1.2, 60.0)), TRENDS[-1]: ((1.0, 60.0), (1.2, 60.0))}
    assert trends_from({edge: dict(told) for edge, told in trends_told(known).items()}) == known.trends


def test_of_a_trend_with_many_steps_the_smallest_parts_are_told_as_more_growth() -> None:
    weights = dict(zip(GROWTHS, (900.0, 20.0, 10.0, 300.0, 40.0, 200.0, 70.0, 80.0), strict=False))
    known = replace(NEW, trends=(tuple(weights.get(step, 0.0) for step in GROWTHS),))

    assert trends_told(known) == {
        0.0: ((1.0, 900.0), (1.06, 330.0), (1.08, 40.0), (1.1, 200.0), (1.12, 70.0), (1.14, 80.0))
    }


@pytest.mark.parametrize("told", [{}, {1.07: {1.0: 60.0}}, {0.0: {1.0: -5.0}}, {0.0: {}}, {nan: {1.0: 60.0}}], ids=str)
def test_trends_that_nobody_counted_are_not_known(told: dict[float, dict[float, float]]) -> None:
    assert trends_from(told) == ()


def test_growth_over_the_calm_base_is_kept_in_few_steps_that_come_out_as_no_less() -> None:
    every = tuple(1.0 for _ in GROWTHS)
    told = calm_told(replace(NEW, calm_growth=every))

    assert len(told) == CALM_STEPS_MOST
    again = replace(NEW, calm_growth=growth_from(dict(told)))
    assert all(
        calm_covered(again, each) >= calm_covered(replace(NEW, calm_growth=every), each)
        for each in (0.2, 0.5, 0.8, 0.98)
    )


@pytest.mark.parametrize("losses", [(-1.0, 2.0), (1.0, nan), (1e19, 1.0)], ids=str)
def test_losses_that_nobody_had_are_not_known(losses: tuple[float, float]) -> None:
    known = reckoned(calm_growth=tuple(60.0 for _ in GROWTHS), losses=losses)

    assert course_from(known) == reckoned()


def test_losses_without_the_growth_that_they_are_of_are_not_known() -> None:
    assert course_from(reckoned(losses=(2.0, 1.0))) == reckoned()


def reckoned(**difference: object) -> Course:
    known = replace(NEW, came_s=10_000.0, seen_s=5000.0, requests=10_000.0, late=((4, 100.0), (9, 50.0)), coverage=0.7)
    return replace(known, **difference)  # type: ignore[arg-type]  # named by the test


def test_a_course_that_can_have_been_learned_is_taken_as_it_is() -> None:
    assert course_from(reckoned()) == reckoned()
    assert course_from(NEW) == NEW


@pytest.mark.parametrize(
    "nonsense",
    [
        {"seen_s": 0.0},
        {"seen_s": nan},
        {"seen_s": 2.0 * COUNTED_MOST_S},
        {"came_s": -1.0},
        {"came_s": nan},
        {"came_s": 1e12},
        {"requests": 1.0},
        {"requests": -1.0},
        {"requests": nan},
        {"requests": 1e12},
        {"late": ((4, 1e5),)},
        {"late": ((4, -1.0),)},
        {"late": ((0, 1.0),)},
        {"late": ((10**9, 1.0),)},
        {"late": ((4, nan),)},
    ],
    ids=str,
)
def test_work_and_requests_that_do_not_fit_what_was_late_of_them_are_not_known(nonsense: dict[str, object]) -> None:
    told = course_from(reckoned(**nonsense))

    assert (told.seen_s, told.came_s, told.requests, told.late) == (0.0, 0.0, 0.0, ())
    assert told.coverage == 0.7
    assert advised(told, None) == ()


@pytest.mark.parametrize("coverage", [-1.0, 0.0, 0.19, 0.99, nan])
def test_a_coverage_out_of_its_bounds_is_not_known(coverage: float) -> None:
    assert course_from(reckoned(coverage=coverage)) == reckoned(coverage=None)


def test_few_levels_are_told_as_they_are() -> None:
    assert levels_told(reckoned()) == ((4, 100.0), (9, 50.0))


@given(st.dictionaries(st.integers(1, 500), st.floats(1.0, 1e4), min_size=LEVELS_MOST, max_size=60))
def test_many_levels_are_told_in_few_and_advise_no_smaller_floor(levels: dict[int, float]) -> None:
    """Mutant: the smallest part counts for the level below."""
    all_of_them = replace(NEW, requests=sum(levels.values()), seen_s=5000.0, late=tuple(sorted(levels.items())))
    told = replace(all_of_them, late=levels_told(all_of_them))

    (whole,), (few,) = advised(all_of_them, None), advised(told, None)

    assert len(told.late) <= LEVELS_MOST
    assert few.floor >= whole.floor
    assert few.late_share == pytest.approx(whole.late_share)
