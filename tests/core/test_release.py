"""Every stage of the release's table by example, and what no release may do with weights and capacity."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.release import Case, Stage, advance, entered
from tests.builders import START_S
from tests.core.one_release import ALL, NONE, UNKNOWN, at, capacity, memory, release, shifted

# --- The table ---------------------------------------------------------------------------------------------------

TABLE = {
    "settled: it serves": (
        {"weights": at(100), "held": memory(stable="v2")},
        (Stage.SETTLED, 100, "v2 serves"),
    ),
    "loading: the first step has capacity": (
        {"weights": at(0)},
        (Stage.LOADING, 5, "the first step sends 5 % to v2"),
    ),
    "loading: the first step waits": (
        {"weights": at(0), "v2": capacity(0, 0)},
        (Stage.LOADING, 0, "5 % wait for capacity: 0 ready replicas of v2 carry 0 %"),
    ),
    "loading: a part of the step is ready": (
        {"weights": at(5), "held": memory(weight=5, held_s=300.0), "v2": capacity(1, 12)},
        (Stage.LOADING, 12, "25 % wait for capacity: 1 ready replica of v2 carries 12 %"),
    ),
    "loading: from a part of a step to all of it": (
        {"weights": at(12), "held": memory(weight=5, held_s=400.0)},
        (Stage.LOADING, 25, "the next step sends 25 %"),
    ),
    "loading: the need is not known": (
        {"weights": at(5), "held": memory(weight=5, held_s=300.0), "v2": capacity(3, UNKNOWN)},
        (Stage.LOADING, 5, "25 % wait: the demand is not known"),
    ),
    "loading: all of it is held": (
        {"weights": at(100), "held": memory(weight=100, held_s=60.0)},
        (Stage.LOADING, 100, "v2 has held all of the traffic, and serves from now on"),
    ),
    "holding: a second is left": (
        {"weights": at(5), "held": memory(weight=5, held_s=299.0)},
        (Stage.HOLDING, 5, "5 % have been held for 299 of 300 s"),
    ),
    "holding: the clock starts when the route shows the step": (
        {"weights": at(25), "held": memory(weight=5, held_s=900.0)},
        (Stage.HOLDING, 25, "25 % have been held for 0 of 300 s"),
    ),
    "holding: noise of a fifth moves nothing": (
        {"weights": at(25), "held": memory(weight=25), "v2": capacity(2, 20)},
        (Stage.HOLDING, 25, "25 % have been held for 0 of 300 s"),
    ),
    "holding: a retreat onto nothing helps nobody": (
        {"weights": at(25), "held": memory(weight=25), "v2": capacity(1, 10), "v1": capacity(8, 89)},
        (Stage.HOLDING, 25, "25 % have been held for 0 of 300 s"),
    ),
    "analysing: the hold is over": (
        {"weights": at(5), "held": memory(weight=5, held_s=9e9), "asked": release(has_analysis=True)},
        (Stage.ANALYSING, 5, "5 % wait for an analysis, and without a verdict nothing moves"),
    ),
    "returning: as fast as it is ready": (
        {"weights": at(40), "asked": release(to="v1"), "held": memory(candidate="v1"), "v1": capacity(7, 70)},
        (Stage.RETURNING, 70, "v1 has served before, and takes its traffic back"),
    ),
    "retreating: less than four fifths are ready": (
        {"weights": at(25), "held": memory(weight=25), "v2": capacity(1, 19)},
        (Stage.RETREATING, 19, "1 ready replica of v2 no longer carries 25 %"),
    ),
    "retreating: nobody is ready": (
        {"weights": at(25), "held": memory(weight=25), "v2": capacity(0, UNKNOWN), "v1": capacity(3, UNKNOWN)},
        (Stage.RETREATING, 0, "0 ready replicas of v2 no longer carry 25 %"),
    ),
    "retreating: from all, once the old version can take it": (
        {"weights": at(100), "held": memory(weight=100), "v2": capacity(6, 60), "v1": capacity(4, 40)},
        (Stage.RETREATING, 60, "6 ready replicas of v2 no longer carry 100 %"),
    ),
    "the stable version is not ready": (
        {"weights": at(5), "held": memory(weight=5), "v1": NONE, "v2": capacity(1, 10)},
        (Stage.HOLDING, 100, "nobody but v2 is ready"),
    ),
    "nobody is ready": (
        {"weights": at(25), "held": memory(weight=25), "v1": NONE, "v2": NONE},
        (Stage.HOLDING, 25, "25 % have been held for 0 of 300 s"),
    ),
}


@pytest.mark.parametrize("row", TABLE)
def test_the_table_of_stages(row: str) -> None:
    given_, (stage, percent, because) = TABLE[row]

    shift = shifted(**given_)  # type: ignore[arg-type]  # a row names the arguments that differ

    assert (shift.stage, shift.ruling.after, shift.ruling.because) == (stage, percent, because)


def test_every_stage_has_a_row() -> None:
    assert {stage for _, (stage, _, _) in TABLE.values()} == set(Stage)


def test_the_numbers_of_a_stage_are_facts() -> None:
    shift = shifted(at(5), held=memory(weight=5, held_s=120.0), v2=capacity(2, 20))

    assert shift.ruling.facts == {"ready": 2, "aim_percent": 5, "held_s": 120.0}


# --- Weights -----------------------------------------------------------------------------------------------------


def test_the_weights_of_a_step_are_all_of_the_route() -> None:
    assert shifted(at(0)).weights == {"v1": 95, "v2": 5}


def test_where_the_candidate_does_not_move_the_route_stays_as_it_is() -> None:
    odd = {"v1": 60, "v2": 5, "v3": 35}

    assert shifted(odd, held=memory(weight=5), v3=ALL).weights == odd


def test_a_third_version_gives_its_traffic_up_as_far_as_the_stable_one_carries_it() -> None:
    """v1 carries 80 %: it takes 20 of the 30 that v3 has, and v3 keeps what nobody else can take."""
    shift = shifted(
        {"v1": 60, "v2": 5, "v3": 35}, held=memory(weight=5, held_s=300.0), v1=capacity(8, 70), v3=capacity(4, 40)
    )

    assert shift.weights == {"v1": 70, "v2": 25, "v3": 5}


def test_traffic_of_a_version_without_replicas_goes_to_the_stable_one() -> None:
    shift = shifted({"v1": 60, "v2": 5, "v3": 35}, held=memory(weight=5), v1=capacity(6, 60), v3=NONE)

    assert shift.weights == {"v1": 95, "v2": 5, "v3": 0}


def test_the_fallback_is_the_stable_version_however_many_others_are_ready() -> None:
    shift = shifted({"v1": 60, "v2": 40, "v3": 0}, v1=capacity(1, 10), v2=NONE, v3=capacity(9, 90))

    assert shift.weights == {"v1": 100, "v2": 0, "v3": 0}


def test_where_the_stable_version_is_not_ready_the_readiest_is_the_fallback() -> None:
    shift = shifted({"v1": 60, "v2": 40, "v3": 0, "v4": 0}, v1=NONE, v2=NONE, v3=capacity(1, 10), v4=capacity(2, 20))

    assert shift.weights == {"v1": 0, "v2": 0, "v3": 0, "v4": 100}


def test_an_analysis_never_moves_forward_and_does_not_stop_a_retreat() -> None:
    """The issue of verdicts brings them; until then an analysis holds, and capacity still has the last word."""
    asked, held = release(has_analysis=True), memory(weight=5, held_s=9e9)

    assert shifted(at(5), asked=asked, held=held).weights == at(5)
    assert shifted(at(5), asked=asked, held=held, v2=NONE).weights == at(0)


def test_a_release_by_steps_as_the_route_follows() -> None:
    """Every 100 s, from v1 alone; each step is held from when the route has it."""
    weights, held = at(0), memory()
    told = []
    for at_s in range(0, 1100, 100):
        case = Case(
            release=release(),
            weights=weights,
            capacity={"v1": ALL, "v2": ALL},
            memory=held,
            load_time_p90_s=0.0,
            at_s=START_S + at_s,
        )
        shift = advance(case)
        weights, held = dict(shift.weights), shift.memory
        told.append((at_s, shift.stage, weights["v2"]))

    assert told == [
        (0, Stage.LOADING, 5),
        (100, Stage.HOLDING, 5),
        (200, Stage.HOLDING, 5),
        (300, Stage.HOLDING, 5),
        (400, Stage.LOADING, 25),
        (500, Stage.HOLDING, 25),
        (600, Stage.HOLDING, 25),
        (700, Stage.HOLDING, 25),
        (800, Stage.LOADING, 100),
        (900, Stage.HOLDING, 100),
        (1000, Stage.LOADING, 100),  # held for its 60 s: done
    ]
    assert held.stable == "v2"


# --- The memory --------------------------------------------------------------------------------------------------


def test_without_a_memory_whoever_else_has_most_traffic_is_the_stable_version() -> None:
    assert entered(release(), {"v1": 30, "v2": 25, "v3": 45}, None, START_S) == memory(stable="v3")
    assert entered(release(), at(60), None, START_S) == memory(stable="v1")


def test_without_a_memory_a_version_that_has_everything_serves() -> None:
    assert entered(release(), {"v1": 0, "v2": 100}, None, START_S) == memory(stable="v2")


def test_a_lost_memory_begins_the_step_anew_and_moves_no_weight() -> None:
    shift = shifted(at(25), held=entered(release(), at(25), None, START_S))

    assert (shift.stage, shift.weights) == (Stage.HOLDING, at(25))
    assert shift.memory == memory(weight=25)


def test_changing_the_word_back_returns_to_the_stable_version_at_once() -> None:
    back = release(to="v1")

    shift = shifted(at(25), asked=back, held=entered(back, at(25), memory(weight=25), START_S))

    assert (shift.stage, shift.weights) == (Stage.RETURNING, at(0))


def test_changing_the_word_to_a_third_version_keeps_the_stable_one() -> None:
    asked = release(to="v3")

    held = entered(asked, {"v1": 75, "v2": 25, "v3": 0}, memory(weight=25), START_S)

    assert held == memory(candidate="v3")


def test_a_stable_version_that_left_the_policy_is_replaced() -> None:
    assert entered(release(), {"v2": 25, "v3": 75}, memory(weight=25), START_S).stable == "v3"


def test_a_clock_that_went_back_does_not_prolong_a_hold() -> None:
    held = entered(release(), at(5), memory(weight=5, held_s=-3600.0), START_S)

    assert held == memory(weight=5)


# --- What holds for any release ----------------------------------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> Case:
    versions = draw(st.sampled_from([["v1"], ["v1", "v2"], ["v1", "v2", "v3"]]))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(versions) - 1, max_size=len(versions) - 1)))
    spans = zip([0, *cuts], [*cuts, 100], strict=True)
    weights = {version: high - low for version, (low, high) in zip(versions, spans, strict=True)}
    need_known = draw(st.booleans())
    capacities = {}
    for version in versions:
        ready = draw(st.integers(0, 3))
        carries = min(100, ready * draw(st.integers(5, 100))) if need_known else UNKNOWN
        capacities[version] = capacity(ready, carries)
    steps = [*sorted(draw(st.sets(st.integers(1, 99), max_size=3))), 100]
    asked = release(
        *((weight, draw(st.sampled_from([0.0, 300.0]))) for weight in steps),
        to=draw(st.sampled_from(versions)),
        has_analysis=draw(st.booleans()),
    )
    held = draw(
        st.none()
        | st.builds(
            memory,
            stable=st.sampled_from(["v1", "v2"]),
            candidate=st.sampled_from(versions),
            weight=st.sampled_from(steps),
            held_s=st.integers(0, 600).map(float),
        )
    )
    return Case(
        release=asked,
        weights=weights,
        capacity=capacities,
        memory=entered(asked, weights, held, START_S),
        load_time_p90_s=300.0,
        at_s=START_S,
    )


@given(cases())
def test_weights_are_always_all_of_the_traffic(case: Case) -> None:
    shift = advance(case)

    assert sum(shift.weights.values()) == 100
    assert shift.weights.keys() <= case.capacity.keys()


@given(cases())
def test_what_has_or_gets_traffic_must_have_capacity_for_it(case: Case) -> None:
    shift = advance(case)

    for version, weights in product(case.capacity, (case.weights, shift.weights)):
        assert shift.shares[version] >= weights[version]


@given(cases())
def test_an_unchanged_world_comes_to_rest(case: Case) -> None:
    """With the route following at once and no time passing, a decision is repeated after as many ticks as steps."""
    for _ in range(8):
        shift = advance(case)
        weights = dict(shift.weights)
        case = replace(case, weights=weights, memory=entered(case.release, weights, shift.memory, case.at_s))

    assert advance(case).weights == case.weights


@given(cases())
def test_an_analysis_never_gives_the_candidate_more_while_others_are_ready(case: Case) -> None:
    asked = replace(case.release, has_analysis=True)
    shift = advance(replace(case, release=asked))

    reached = [step for step in asked.steps if step.weight_percent <= case.current_percent]
    others = [each.ready for version, each in case.capacity.items() if version != case.candidate]
    if case.candidate != case.memory.stable and reached and max(others, default=0) > 0:
        assert shift.ruling.after <= case.current_percent
