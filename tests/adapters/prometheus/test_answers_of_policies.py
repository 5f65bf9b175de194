"""What the rows say of a policy as a whole: its first tokens, its queue at the picker, and how few queries that takes.

The names of the pitfalls are those of the metrics page, section 6.
"""

import json
from time import process_time

import pytest

from scaler.adapters.prometheus.promql import TOLD_LABEL, Question, Told
from scaler.core.model import NO_PICKER, FirstTokens, Missing
from tests.adapters.prometheus.conftest import Reader
from tests.adapters.prometheus.fake_api import AT_S, FakePrometheus, asked, at

POOL = {"namespace": "models", "inference_pool": "pool"}
QUEUED = POOL | {TOLD_LABEL: Told.QUEUED.value}
REFUSED = POOL | {TOLD_LABEL: Told.REFUSED.value}


# --- First tokens ----------------------------------------------------------------------------------------------------


async def test_pitfall_8_a_quantile_is_taken_of_the_summed_buckets_at_each_policys_percentile(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.first_tokens({"1": 90.0, "2": 100.0, "+Inf": 100.0})

    told = await reader.signals.read([asked(objective=at(90.0)), asked(policy="models/b", model="llama")], AT_S)

    assert [told[name].ttft_s for name in ("models/llama", "models/b")] == [1.0, 1.5]


async def test_first_tokens_that_were_late_are_told_of_the_same_buckets_at_each_policys_limit(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.first_tokens({"1": 90.0, "2": 95.0, "4": 99.0, "+Inf": 100.0})

    told = await reader.signals.read(
        [asked(), asked(policy="models/b", model="llama", objective=at(95.0, limit_s=1.0))], AT_S
    )

    assert [told[name].first_tokens for name in ("models/llama", "models/b")] == [
        FirstTokens(per_s=100.0, late_per_s=5.0),
        FirstTokens(per_s=100.0, late_per_s=10.0),
    ]


async def test_pitfall_10_no_traffic_is_not_a_latency_of_zero(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.first_tokens({"1": 0.0, "+Inf": 0.0})

    answer = await reader.answer(asked())

    assert answer.ttft_s == answer.first_tokens == Missing(why="no request got its first token in the last 2 minutes")


async def test_the_time_to_first_token_is_asked_for_only_where_there_is_an_objective(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.pod("a")
    prometheus.first_tokens({"1": 90.0, "2": 100.0, "+Inf": 100.0})

    without_objective = await reader.answer(asked("a", objective=None))
    queries = len(prometheus.requests)
    both = await reader.signals.read([asked(objective=None), asked(policy="models/b", model="llama")], AT_S)

    missing = Missing(why="the policy has no objective for it")
    assert (without_objective.ttft_s, without_objective.first_tokens) == (missing, missing)
    assert reader.account.lacking["models/llama"] == {}
    assert (queries, len(prometheus.requests)) == (7, 15)
    assert [isinstance(told.ttft_s, Missing) for told in both.values()] == [True, False]


async def test_answers_hold_no_number_that_json_lacks(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.pod("a", running=float("nan"))
    prometheus.first_tokens({"1": float("nan"), "+Inf": float("inf")})

    answer = await reader.answer(asked("a"))

    json.dumps([str(answer.loads), str(answer.ttft_s)], allow_nan=False)
    assert isinstance(answer.ttft_s, Missing)


# --- The endpoint picker ---------------------------------------------------------------------------------------------


async def test_without_a_pool_there_is_no_picker(reader: Reader) -> None:
    answer = await reader.answer(asked())

    assert answer.gateway_waiting == NO_PICKER


async def test_the_queue_of_the_pool_is_summed_over_its_models(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S - 3.0)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "llama"}, 4.0)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "adapter-7"}, 3.0)

    answer = await reader.answer(asked(pool="pool"))

    assert answer.gateway_waiting == 7.0


async def test_a_queue_that_was_never_used_is_empty_where_the_picker_is_read(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S - 3.0)

    answer = await reader.answer(asked(pool="pool"))

    assert answer.gateway_waiting == 0.0


async def test_pitfall_5_a_picker_that_is_not_read_is_not_an_empty_queue(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S - 3.0)

    answer = await reader.answer(asked(pool="poll"))

    assert isinstance(answer.gateway_waiting, Missing)
    assert answer.gateway_waiting.why.endswith('inference_pool="poll"}; there is inference_pool="pool"')


async def test_pitfall_4_a_picker_that_was_last_seen_long_ago_is_missing(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S - 120.0)
    prometheus.row(Question.PICKER_QUEUE, QUEUED, 4.0)

    answer = await reader.answer(asked(pool="pool"))

    assert answer.gateway_waiting == Missing(why="its last sample is 120 s old, the limit is 90 s")


async def test_two_models_of_one_pool_do_not_count_each_others_requests(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "chat", "target_model_name": "llama"}, 4.0)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "qwen", "target_model_name": ""}, 2.0)
    policies = [asked(pool="pool"), asked(policy="models/qwen", pool="pool")]

    told = await reader.signals.read(policies, AT_S)

    assert [answer.gateway_waiting for answer in told.values()] == [4.0, 2.0]


async def test_what_the_picker_refuses_is_told_by_the_second(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S)
    prometheus.row(Question.PICKER_QUEUE, REFUSED, 2.5)

    answer = await reader.answer(asked(pool="pool"))

    assert (answer.gateway_waiting, answer.gateway_refused_per_s) == (0.0, 2.5)


@pytest.mark.parametrize(("llama", "qwen", "refused"), [(6.0, 2.0, [3.0, 1.0]), (0.0, 0.0, [2.0, 2.0])])
async def test_refusals_of_a_pool_belong_to_those_whose_requests_wait_in_it(
    prometheus: FakePrometheus, reader: Reader, llama: float, qwen: float, refused: list[float]
) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "llama"}, llama)
    prometheus.row(Question.PICKER_QUEUE, QUEUED | {"model_name": "qwen"}, qwen)
    prometheus.row(Question.PICKER_QUEUE, REFUSED, 4.0)
    policies = [asked(pool="pool"), asked(policy="models/qwen", pool="pool")]

    told = await reader.signals.read(policies, AT_S)

    assert [answer.gateway_refused_per_s for answer in told.values()] == refused


async def test_refusals_that_are_no_number_are_missing(prometheus: FakePrometheus, reader: Reader) -> None:
    prometheus.row(Question.PICKER_TIMES, POOL, AT_S)
    prometheus.row(Question.PICKER_QUEUE, REFUSED, "NaN")

    answer = await reader.answer(asked(pool="pool"))

    assert answer.gateway_waiting == Missing(why="the endpoint picker has 0 waiting and refuses nan a second")
    assert answer.gateway_refused_per_s == 0.0


# --- The queries of a tick -------------------------------------------------------------------------------------------


async def test_the_same_number_of_queries_for_one_policy_and_for_two_hundred(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    many = [asked(f"p{n}", policy=f"models/m{n}", pool=f"pool{n}", objective=at(50.0 + n % 49)) for n in range(200)]

    await reader.signals.read(many[:1], AT_S)
    for_one = len(prometheus.requests)
    await reader.signals.read(many, AT_S)

    assert (for_one, len(prometheus.requests)) == (10, 20)


async def test_nothing_is_asked_where_no_policy_asks(prometheus: FakePrometheus, reader: Reader) -> None:
    await reader.signals.read([], AT_S)

    assert prometheus.requests == []


async def test_every_query_of_a_tick_is_of_the_same_moment(prometheus: FakePrometheus, reader: Reader) -> None:
    await reader.answer(asked("a"), at_s=AT_S + 0.25)

    assert {parameters["time"] for parameters in prometheus.parameters} == {f"{AT_S + 0.25:.3f}"}


async def test_a_store_that_is_down_must_fail_the_query_rather_than_halve_it(
    prometheus: FakePrometheus, reader: Reader
) -> None:
    await reader.answer(asked("a"))

    assert {parameters["partial_response"] for parameters in prometheus.parameters} == {"false"}


@pytest.mark.bench
async def test_a_tick_of_a_thousand_policies(
    prometheus: FakePrometheus, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"m{number}" for number in range(1000)]
    for name in names:
        for pod in range(10):
            prometheus.pod(f"{name}-{pod}", model=name)
        prometheus.first_tokens({str(bound): 1.0 * bound for bound in range(22)} | {"+Inf": 22.0}, model=name)
    policies = {
        label: [asked(*(f"{name}-{pod}" for pod in range(10)), policy=f"models/{name}{label}") for name in names]
        for label in ("", "-wrong")
    }

    for label, asks in policies.items():
        begun_s = process_time()
        await reader.signals.read(asks, AT_S)
        worked_s = process_time() - begun_s

        with capsys.disabled():
            print(f"\nsignals of 1000 policies of 10 pods{label}: {worked_s:.2f} s of CPU")  # noqa: T201  # a bench prints
        assert worked_s < 10.0  # the fake's own share is half of it
