"""Every stage of the release's table by example, and what no release may do with weights and capacity."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.memory import ReleaseMemory
from scaler.core.model import Missing, Release, ReleaseStep
from scaler.core.release import Capacity, Case, Claim, Share, Shift, Stage, advance, ceilings, claim, entered, share_of
from tests.builders import START_S

STEPS = ((5, 300.0), (25, 300.0), (100, 60.0))
UNKNOWN = Missing(why="the demand is not known")


def release(*steps: tuple[int, float], to: str = "v2", has_analysis: bool = False) -> Release:
    return Release(
        version=to,
        steps=tuple(ReleaseStep(weight_percent=weight, hold_s=hold_s) for weight, hold_s in steps or STEPS),
        has_analysis=has_analysis,
    )


def memory(*, stable: str = "v1", candidate: str = "v2", weight: int = 0, held_s: float = 0.0) -> ReleaseMemory:
    return ReleaseMemory(stable=stable, candidate=candidate, weight_percent=weight, since_s=START_S - held_s)


def capacity(ready: int, carries_percent: int | Missing) -> Capacity:
    return Capacity(ready=ready, carries_percent=carries_percent)


ALL = capacity(10, 100)
NONE = capacity(0, 0)


def shifted(
    weights: Mapping[str, int],
    *,
    v1: Capacity = ALL,
    v2: Capacity = ALL,
    asked: Release | None = None,
    held: ReleaseMemory | None = None,
    load_time_p90_s: float = 0.0,
    **others: Capacity,
) -> Shift:
    """What is next for a release from v1 to v2, both of which could carry everything."""
    return advance(
        Case(
            release=asked or release(),
            weights=weights,
            capacity={"v1": v1, "v2": v2, **others},
            memory=held or memory(),
            load_time_p90_s=load_time_p90_s,
            at_s=START_S,
        )
    )


def at(weight: int) -> dict[str, int]:
    """The route with this weight on v2."""
    return {"v1": 100 - weight, "v2": weight}


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


# --- Capacity to prepare -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "held", "load_time_p90_s", "shares"),
    [
        (at(100), memory(stable="v2"), 300.0, {"v1": 0, "v2": 100}),  # settled: v1 may go
        (at(0), memory(), 300.0, {"v1": 100, "v2": 5}),
        (at(5), memory(weight=5, held_s=100.0), 199.0, {"v1": 100, "v2": 5}),
        (at(5), memory(weight=5, held_s=100.0), 200.0, {"v1": 100, "v2": 25}),  # 200 s left, and a start takes 200
        (at(5), memory(weight=5, held_s=300.0), 0.0, {"v1": 100, "v2": 25}),
        (at(100), memory(weight=100, held_s=0.0), 300.0, {"v1": 100, "v2": 100}),  # for a rollback, until it is done
    ],
)
def test_the_candidate_prepares_and_the_stable_version_could_take_all_back(
    weights: dict[str, int], held: ReleaseMemory, load_time_p90_s: float, shares: dict[str, int]
) -> None:
    assert shifted(weights, held=held, load_time_p90_s=load_time_p90_s).shares == shares


def test_who_is_given_traffic_in_an_emergency_keeps_the_capacity_for_it() -> None:
    """v2 serves and has died; v1 was draining, and must not shrink in the very tick that sends it everything."""
    shift = shifted(at(100), held=memory(stable="v2"), v2=NONE, v1=capacity(4, 40))

    assert shift.weights == at(0)
    assert shift.shares == {"v1": 100, "v2": 100}


def test_an_analysis_that_waits_prepares_nothing_further() -> None:
    asked = release(has_analysis=True)

    shift = shifted(at(5), asked=asked, held=memory(weight=5, held_s=300.0), load_time_p90_s=900.0)

    assert shift.shares["v2"] == 5


# --- The ceilings ------------------------------------------------------------------------------------------------


def of(requested: int, needed: int, most: int) -> Claim:
    return Claim(requested=requested, needed=needed, most=most)


def rooms(most: int, **claims: Claim) -> dict[str, int]:
    case = Case(
        release=release(),
        weights={},
        capacity=dict.fromkeys(claims, ALL),
        memory=memory(),
        load_time_p90_s=0.0,
        at_s=START_S,
    )
    return ceilings(claims, case, most)


@pytest.mark.parametrize(
    ("most", "v1", "v2", "room"),
    [
        (40, of(8, 8, 8), of(0, 0, 8), {"v1": 8, "v2": 8}),
        (12, of(8, 4, 8), of(4, 4, 8), {"v1": 4, "v2": 4}),  # v1 makes room first,
        (12, of(4, 4, 8), of(4, 4, 8), {"v1": 4, "v2": 8}),  # then v2 grows into it
        (10, of(5, 9, 10), of(1, 1, 3), {"v1": 9, "v2": 1}),  # what traffic needs before what a step prepares
        (40, of(5, 5, 30), of(2, 1, 30), {"v1": 10, "v2": 30}),  # two warm floors of 30
        (20, of(20, 10, 20), of(20, 10, 20), {"v1": 10, "v2": 10}),  # the maximum was lowered
    ],
    ids=["plenty", "make room", "take room", "traffic first", "floors", "lowered"],
)
def test_two_versions_share_the_maximum(most: int, v1: Claim, v2: Claim, room: dict[str, int]) -> None:
    assert rooms(most, v1=v1, v2=v2) == room


def test_the_stable_version_has_what_the_others_leave() -> None:
    assert rooms(20, v1=of(10, 5, 20), v2=of(4, 4, 8), v3=of(6, 3, 6)) == {"v1": 6, "v2": 4, "v3": 6}


def test_what_is_left_is_the_candidates_before_a_third_versions() -> None:
    assert rooms(20, v0=of(4, 4, 8), v1=of(8, 8, 8), v2=of(4, 4, 8)) == {"v0": 4, "v1": 8, "v2": 8}


@pytest.mark.parametrize(
    ("need", "share", "expected"),
    [
        (UNKNOWN, (50, 100), of(6, 6, 6)),
        (8, (50, 100), of(6, 4, 8)),
        (7, (33, 33), of(6, 3, 6)),
        (40, (33, 100), of(6, 13, 40)),  # of a need that cannot be met, rounded down: 13 and 26 are within 40
        (900, (1, 1), of(6, 1, 9)),  # but not to nothing
        (900, (0, 0), of(6, 0, 6)),
    ],
)
def test_a_claim_is_what_the_traffic_needs_and_the_share_wants(
    need: int | Missing, share: tuple[int, int], expected: Claim
) -> None:
    traffic, wanted = share

    assert claim(need, Share(traffic_percent=traffic, share_percent=wanted), 6, 2, 40) == expected


def test_the_warm_pool_and_the_bounds_are_part_of_a_claim() -> None:
    assert claim(2, Share(traffic_percent=50, share_percent=100), 1, 9, 40) == of(1, 1, 9)
    assert claim(UNKNOWN, Share(traffic_percent=50, share_percent=100), 1, 9, 40) == of(1, 1, 9)


def test_a_shift_counts_for_both_the_traffic_that_was_and_that_will_be() -> None:
    case = Case(
        release=release(),
        weights=at(5),
        capacity={"v1": ALL, "v2": ALL},
        memory=memory(weight=5, held_s=300.0),
        load_time_p90_s=0.0,
        at_s=START_S,
    )
    shift = advance(case)

    assert shift.weights == at(25)
    assert share_of("v1", case, shift) == Share(traffic_percent=95, share_percent=100)
    assert share_of("v2", case, shift) == Share(traffic_percent=25, share_percent=25)


claims_ = st.builds(
    lambda requested, needed, more: of(requested, needed, max(requested, needed) + more),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 20),
)


@given(st.integers(1, 40), st.dictionaries(st.sampled_from(["v1", "v2", "v3"]), claims_, min_size=1))
def test_ceilings_stay_within_the_maximum_together_and_leave_traffic_its_replicas(
    most: int, claims: dict[str, Claim]
) -> None:
    room = rooms(most, **claims)

    asked = sum(each.requested for each in claims.values())
    assert sum(room.values()) <= max(most, asked)
    assert sum(max(room[version], each.requested) for version, each in claims.items()) <= max(most, asked)
    assert all(room[version] >= min(most, each.requested, each.needed) for version, each in claims.items())
    assert all(room[version] <= each.most for version, each in claims.items())


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
