"""What is answered, and each refusal: its code, what is wrong, and what to do."""

import pytest
from grpc import StatusCode

from scaler.adapters.keda.answers import LONGEST_SENTENCE, Refusal, asked_of, check_metric
from scaler.adapters.keda.external_scaler_pb2 import ScaledObjectRef
from scaler.core.model import Actuation, Missing, TargetKey
from scaler.runtime.board import Lacking
from tests.adapters.keda.asking import AT_S, POLICY, V1, World, ref, standing

HELD = "until then KEDA keeps what is there"


def refusal(world: World, asked: ScaledObjectRef) -> tuple[StatusCode, str]:
    with pytest.raises(Refusal) as told:
        world.known().desired(asked_of(asked))
    return told.value.code, str(told.value)


def test_the_count_is_what_was_decided_for_the_version_and_role() -> None:
    decode = TargetKey(version="v1", role="Decode")
    world = World()
    world.put(standing(desired={V1: 21, decode: 4}))

    assert world.known().desired(asked_of(ref())) == 21
    assert world.known().desired(asked_of(ref(role="Decode"))) == 4


@pytest.mark.parametrize(
    ("asked", "tells"),
    [
        (ref(policy=""), "the trigger's metadata must have `policy`, the name of a ScalingPolicy"),
        (ref(version=""), "the trigger's metadata must have `version`, a version of the policy"),
        (ref(namespace=""), "the ScaledObject has no namespace; KEDA always sends one"),
        (ref(role="serve"), "the trigger's `role` is 'serve'; it must be one of Serve, Prefill, Decode"),
        (ref(version="v9"), "'models/llama' has no target 'v9'; it has v1"),
        (ref(role="Decode"), "'models/llama' has no target 'v1/Decode'; it has v1"),
    ],
)
def test_a_trigger_that_means_nothing_is_an_invalid_argument(asked: ScaledObjectRef, tells: str) -> None:
    assert refusal(World(), asked) == (StatusCode.INVALID_ARGUMENT, tells)


def test_a_metric_that_is_not_ours_is_an_invalid_argument() -> None:
    with pytest.raises(Refusal, match="there is no metric 'cpu'; the only one is forebay-replicas") as told:
        check_metric("cpu")

    assert told.value.code is StatusCode.INVALID_ARGUMENT


def test_a_policy_that_there_is_not_is_not_found() -> None:
    code, tells = refusal(World(), ref(policy="lama"))

    assert code is StatusCode.NOT_FOUND
    assert tells.startswith(
        "there is no ScalingPolicy 'models/lama'; the trigger's `policy` names one in the namespace"
    )


def test_a_policy_of_another_namespace_is_not_found() -> None:
    assert refusal(World(), ref(namespace="chat"))[0] is StatusCode.NOT_FOUND


@pytest.mark.parametrize("actuation", [Actuation.SCALE, Actuation.ADVISE])
def test_a_policy_that_another_carries_out_is_a_failed_precondition(actuation: Actuation) -> None:
    world = World()
    world.put(standing(actuation=actuation))

    code, tells = refusal(world, ref())

    assert code is StatusCode.FAILED_PRECONDITION
    assert f"is under actuation {actuation.value}, so KEDA gets no count of it; set actuation: KEDA" in tells
    assert tells.endswith("or delete the ScaledObject")


def test_a_policy_whose_spec_is_not_sound_is_a_failed_precondition() -> None:
    world = World()
    world.put(Missing(why="spec.replicas.min: must be at most 4"))

    assert refusal(world, ref()) == (
        StatusCode.FAILED_PRECONDITION,
        "the spec of 'models/llama' is not sound, and no count was decided on it: spec.replicas.min: must be at most 4",
    )


def test_a_target_that_was_not_decided_on_is_unavailable() -> None:
    world = World()
    world.put(standing(None))

    code, tells = refusal(world, ref())

    assert code is StatusCode.UNAVAILABLE
    assert tells.startswith("nothing was decided yet on 'v1' of 'models/llama'")
    assert tells.endswith(HELD)


def test_a_plan_without_a_heartbeat_is_unavailable() -> None:
    world = World(fresh_as_of=Missing(why="the last heartbeat of a leader was 91 s ago, the limit is 90 s"))

    code, tells = refusal(world, ref())

    assert code is StatusCode.UNAVAILABLE
    assert tells.startswith("the plans are stale: the last heartbeat of a leader was 91 s ago, the limit is 90 s; see")
    assert tells.endswith(HELD)


def test_what_cannot_be_followed_is_unavailable_and_not_unknown() -> None:
    world = World(unfollowed="the scalingpolicies were not listed yet: no answer has come")

    code, tells = refusal(world, ref(policy="lama"))

    assert code is StatusCode.UNAVAILABLE
    assert tells.startswith("the policies cannot be followed now: the scalingpolicies were not listed yet")


def test_signals_may_be_missing_for_as_long_as_the_policy_allows() -> None:
    world = World()
    world.put(standing(21, Lacking(since_s=AT_S - 90.0, why="no series")))
    assert world.known().desired(asked_of(ref())) == 21

    world.put(standing(21, Lacking(since_s=AT_S - 91.0, why="no series")))

    assert refusal(world, ref()) == (
        StatusCode.UNAVAILABLE,
        f"the signals of 'models/llama' have been missing for 91 s, its staleSeconds are 90: no series; {HELD}",
    )


def test_a_strangers_text_is_told_back_short_and_on_one_line() -> None:
    _, tells = refusal(World(), ref(role="a\nb\u2028" + "x" * 100_000))

    assert "\n" not in tells
    assert tells.isascii()
    assert len(tells) < 200


def test_no_sentence_is_longer_than_a_header_takes() -> None:
    assert len(str(Refusal(StatusCode.UNAVAILABLE, "x" * 5000))) == LONGEST_SENTENCE


def test_a_policy_of_many_targets_is_not_told_in_full() -> None:
    world = World()
    many = {TargetKey(version=f"v{number}", role="Serve"): 1 for number in range(16)}
    world.put(standing(desired=many))

    _, tells = refusal(world, ref(version="nine"))

    assert tells == f"'{POLICY}' has no target 'nine'; it has v0, v1, v2, v3, v4, v5, v6, v7 and 8 more"
