"""Which pods are marked to go first."""

from dataclasses import replace

from scaler.adapters.kubernetes.deletion_cost import LOWEST, Mark, marks
from scaler.adapters.kubernetes.pods import PodSeen, pod_seen
from scaler.core.model import Load, Missing
from tests.adapters.kubernetes import recorded
from tests.builders import load

LOADS: dict[str, Load | Missing] = {
    "a": load(running=5),
    "b": load(running=0, kv_usage=0.5),
    "c": load(running=0, kv_usage=0.1),
    "d": Missing(why="its series is gone"),
}


def pods(*names: str) -> list[PodSeen]:
    return [pod_seen(recorded.ready(name), None) for name in names]


def test_as_many_as_go_are_marked_those_with_the_least_work_first() -> None:
    assert marks(pods("a", "b", "c", "d"), LOADS, left=2) == (
        Mark(pod="c", cost=LOWEST),
        Mark(pod="b", cost=LOWEST + 1),
    )


def test_of_whom_nothing_is_known_goes_last() -> None:
    assert [mark.pod for mark in marks(pods("a", "d"), LOADS, left=1)] == ["a"]


def test_pods_that_are_not_ready_go_before_any_mark() -> None:
    two_loading = [pod_seen(recorded.loading(name), None) for name in ("x", "y")]

    assert marks([*pods("a", "b"), *two_loading], LOADS, left=2) == ()
    assert len(marks([*pods("a", "b"), *two_loading], LOADS, left=1)) == 1


def test_a_pod_on_its_way_out_is_left_alone() -> None:
    """One of the two that stand goes; a third that is on its way out already is neither marked nor counted."""
    leaving = pod_seen(recorded.draining("b"), None)

    assert [mark.pod for mark in marks([leaving, *pods("a", "c")], LOADS, left=1)] == ["c"]


def test_a_pod_that_a_former_step_let_go_and_that_still_stands_takes_no_mark_from_the_next() -> None:
    marked = [replace(pod, deletion_cost=str(LOWEST)) for pod in pods("c")]  # four stand, three are asked for

    assert marks([*marked, *pods("a", "b", "d")], LOADS, left=2) == (Mark(pod="b", cost=LOWEST + 1),)


def test_nobody_is_marked_while_fewer_stand_than_are_to_stay() -> None:
    assert marks(pods("a", "b"), LOADS, left=3) == ()


def test_a_mark_that_was_not_needed_is_taken_back() -> None:
    marked = [replace(pod, deletion_cost=str(LOWEST)) for pod in pods("a")]

    assert marks([*marked, *pods("b")], LOADS, left=1) == (Mark(pod="b", cost=LOWEST), Mark(pod="a", cost=None))


def test_a_mark_that_is_there_is_not_written_again() -> None:
    marked = [replace(pod, deletion_cost=str(LOWEST)) for pod in pods("c")]

    assert marks([*marked, *pods("a")], LOADS, left=1) == ()


def test_a_cost_that_somebody_else_set_is_theirs() -> None:
    theirs = [replace(pod, deletion_cost="100") for pod in pods("c")]

    assert [mark.pod for mark in marks([*theirs, *pods("a", "b")], LOADS, left=2)] == ["b"]
