"""What a run's picture shows."""

from typing import Any

from testbed.vllm.picture import picture


def run(**changed: Any) -> dict[str, Any]:
    moment = {"at_s": 100.0, "requested": 3, "ready": 1, "asleep": 0, "starting": 2}
    stream = {"began_at_s": 130.0, "first_token_s": 0.5, "cut": ""}
    times = {"rose_at_s": 100.0, "grown_at_s": 160.0, "fell_at_s": 220.0, "back_at_s": 280.0}
    work = {"running": [(100.0, 8.0)], "waiting": [(100.0, 10.0)]}
    return {**times, "work": work, "moments": [moment], "streams": [stream], **changed}


def traces(given: dict[str, Any]) -> dict[str, Any]:
    return {trace.name: trace for trace in picture(given).data}


def test_replicas_are_stacked_by_state_and_time_is_in_minutes_since_the_rise() -> None:
    shown = traces(run())

    assert {name: shown[name].y[0] for name in ("ready", "asleep", "starting", "asked for")} == {
        "ready": 1,
        "asleep": 0,
        "starting": 2,
        "asked for": 3,
    }
    assert shown["whole stream"].x[0] == 0.5


def test_a_stream_that_was_cut_is_shown_apart() -> None:
    cut = {"began_at_s": 160.0, "first_token_s": None, "cut": "ended after 3 of 100 tokens"}
    shown = traces(run(streams=[cut]))

    assert (len(shown["whole stream"].x), list(shown["cut stream"].x)) == (0, [1.0])
