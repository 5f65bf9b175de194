"""What is drawn for the property of each promise, and a run of one on it."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import promises
from tests.core.closed_loop import sites, stories
from tests.core.strategies import at_zero, faults, near_zero, worlds

starts = st.integers(200, 400).map(float)
start_lists = st.lists(starts, min_size=5, max_size=25)
expectations = st.integers(50, 1600).map(float)
seconds = st.integers(1, 1500).map(float)

PROPERTIES: dict[Callable[..., None], tuple[st.SearchStrategy[object], ...]] = {
    promises.every_number_has_a_reason: (worlds(broken=False) | worlds(),),
    promises.nothing_shrinks_because_something_broke: (faults() | worlds(),),
    promises.the_last_replica_goes_only_when_asked: (near_zero() | faults() | worlds(most_versions=1),),
    promises.what_comes_calls_for_a_replica: (at_zero() | near_zero(),),
    promises.the_belief_is_what_was_measured: (start_lists, expectations),
    promises.a_dip_must_outlast_three_tenths_of_a_start: (seconds, seconds),
    promises.starts_that_drag_on_are_believed: (starts, st.integers(401, 3000).map(float)),
    promises.a_start_past_its_budget_stops_growth: (seconds, seconds),
    promises.traffic_goes_where_replicas_are_ready: (stories(),),
    promises.traffic_keeps_its_replicas: (stories(),),
    promises.versions_stay_within_the_maximum: (stories(),),
    promises.an_interrupted_list_resumes: (
        sites(most_versions=2),
        st.sampled_from([0, 50, 90]),
        st.integers(0, 2),
        st.integers(0, 12),
    ),
    promises.it_keeps_to_its_own: (worlds(broken=False) | worlds(),),
}
"""Each property with what is drawn for it."""


def holds(promise: Callable[..., None], how: settings) -> None:
    """Run ``promise`` on what is drawn for it."""
    how(given(*PROPERTIES[promise])(promise))()
