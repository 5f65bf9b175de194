"""Events: one for what happens, a series for what repeats, within the API's limits."""

from typing import Any

import pytest

from scaler.adapters.kubernetes.events import Events, Happening, Regarding, happenings
from scaler.api.status import ConditionStatus, DecisionStatus, Status, StatusCondition
from tests.adapters.kubernetes.conftest import Caller, silent
from tests.adapters.kubernetes.fake_api import FakeApi, failure

ABOUT = Regarding(namespace="models", name="llama", uid="uid-policy")
BROKEN = Happening(reason="DemandUnknown", action="SignalsHealthy", note="no series", is_warning=True)
AT_S = 1772442000.0


@pytest.fixture
def events(caller: Caller) -> Events:
    return Events(client=caller.client, log=silent(), instance="forebay-0")


def stored(api: FakeApi) -> list[dict[str, Any]]:
    return [thing for path, thing in api.objects.items() if "/events/" in path]


async def test_an_event_says_who_what_and_when(api: FakeApi, events: Events) -> None:
    await events.tell(ABOUT, BROKEN, AT_S)

    (event,) = stored(api)
    assert event["eventTime"] == "2026-03-02T09:00:00.000000Z"
    assert (event["reason"], event["action"], event["type"]) == ("DemandUnknown", "SignalsHealthy", "Warning")
    assert event["regarding"]["uid"] == "uid-policy"
    assert (event["reportingController"], event["reportingInstance"]) == ("forebay.dev/controller", "forebay-0")


async def test_two_things_at_one_moment_are_two_events(api: FakeApi, events: Events) -> None:
    await events.tell(ABOUT, BROKEN, AT_S)
    await events.tell(ABOUT, Happening(reason="NotSeen", action="Ready", note="so"), AT_S)

    assert {event["reason"] for event in stored(api)} == {"DemandUnknown", "NotSeen"}


async def test_what_repeats_is_a_series_that_is_written_once_a_minute(api: FakeApi, events: Events) -> None:
    for tick in range(20):
        await events.tell(ABOUT, BROKEN, AT_S + 15.0 * tick)

    (event,) = stored(api)
    assert event["series"] == {"count": 17, "lastObservedTime": "2026-03-02T09:04:00.000000Z"}
    assert len(api.bodies) == 5


async def test_what_happens_again_much_later_is_a_new_event(api: FakeApi, events: Events) -> None:
    await events.tell(ABOUT, BROKEN, AT_S)
    await events.tell(ABOUT, BROKEN, AT_S + 400.0)

    assert len(stored(api)) == 2


async def test_a_note_is_cut_at_a_kilobyte_and_between_characters(api: FakeApi, events: Events) -> None:
    await events.tell(ABOUT, Happening(reason="R" * 200, action="A" * 200, note="é" * 1000), AT_S)

    (event,) = stored(api)
    assert len(event["note"].encode()) <= 1024
    assert event["note"].endswith("é…")
    assert len(event["reason"]) == len(event["action"]) == 128


async def test_an_event_that_cannot_be_written_hurts_nobody(api: FakeApi, events: Events) -> None:
    api.always = lambda _: failure(403, "events is forbidden")

    await events.tell(ABOUT, BROKEN, AT_S)

    assert not stored(api)


async def test_an_event_that_expired_in_between_is_begun_anew(api: FakeApi, events: Events) -> None:
    await events.tell(ABOUT, BROKEN, AT_S)
    for path in [path for path in api.objects if "/events/" in path]:
        await api.remove(path)

    await events.tell(ABOUT, BROKEN, AT_S + 61.0)
    await events.tell(ABOUT, BROKEN, AT_S + 62.0)

    assert len(stored(api)) == 1


def status(healthy: ConditionStatus, desired: int = 1, releasing: ConditionStatus = ConditionStatus.FALSE) -> Status:
    conditions = tuple(
        StatusCondition(type=kind, status=each, last_transition_time="", reason=f"{kind}{each.value}")
        for kind, each in (("SignalsHealthy", healthy), ("Releasing", releasing))
    )
    decision = DecisionStatus(at="", because=f"v1: to {desired}")
    return Status(conditions=conditions, desired=desired, decision=decision)


def test_only_what_turned_is_worth_an_event() -> None:
    good, bad = status(ConditionStatus.TRUE), status(ConditionStatus.FALSE)

    assert list(happenings(good, good)) == []
    assert [(each.reason, each.is_warning) for each in happenings(bad, good)] == [("SignalsHealthyFalse", True)]
    assert [(each.reason, each.is_warning) for each in happenings(good, bad)] == [("SignalsHealthyTrue", False)]


def test_a_first_status_in_order_is_worth_no_event() -> None:
    assert list(happenings(status(ConditionStatus.TRUE), None)) == []


def test_another_count_is_an_event_with_its_reason() -> None:
    (event,) = happenings(status(ConditionStatus.TRUE, desired=5), status(ConditionStatus.TRUE))

    assert (event.reason, event.note) == ("Decided", "v1: to 5")
