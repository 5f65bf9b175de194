"""How policies stand, and who is told of a change."""

from scaler.core.model import Actuation, Missing, TargetKey
from scaler.runtime.board import Standing, Standings

V1 = TargetKey(version="v1", role="Serve")


def standing(replicas: int) -> Standing:
    return Standing(actuation=Actuation.KEDA, desired={V1: replicas}, stale_after_s=90.0)


def test_a_policy_stands_as_it_was_put_last() -> None:
    standings = Standings()

    standings.put("models/llama", standing(2))
    standings.put("models/llama", standing(3))

    assert standings.get("models/llama") == standing(3)
    assert standings.get("models/other") is None


def test_who_listens_is_told_of_a_change_and_of_nothing_else() -> None:
    standings = Standings()
    standings.put("models/llama", standing(2))
    with standings.listening("models/llama") as bell:
        standings.put("models/llama", standing(2))
        standings.put("models/other", standing(9))
        assert not bell.is_set()

        standings.put("models/llama", Missing(why="spec.replicas: must be there"))
        assert bell.is_set()


def test_a_policy_that_goes_is_told_and_forgotten() -> None:
    standings = Standings()
    standings.put("models/llama", standing(2))
    with standings.listening("models/llama") as bell:
        standings.put("models/llama", None)
        standings.put("models/llama", None)

        assert bell.is_set()
    assert standings.get("models/llama") is None
