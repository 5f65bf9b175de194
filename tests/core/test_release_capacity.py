"""The replicas of a release: what each version prepares, what it claims, and its part of the maximum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.memory import ReleaseMemory
from scaler.core.model import Missing
from scaler.core.release import Case, Claim, Share, advance, ceilings, claim, share_of
from tests.builders import START_S
from tests.core.one_release import ALL, NONE, UNKNOWN, at, capacity, memory, release, shifted

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
