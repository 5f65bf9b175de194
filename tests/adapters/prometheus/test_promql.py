"""The text of the questions."""

import re
from urllib.parse import quote_plus

import pytest

from scaler.adapters.prometheus.promql import Question, engine_queries, gpu_queries, picker_queries
from scaler.api.v1alpha1 import Engine

BARE = re.compile(r"(vllm:|sglang:|trtllm_|nv_trt|tgi_|te_|llm_d_|inference_ext|DCGM_)\w+(?![\w{|\"])")
"""The name of a metric that neither labels nor, in a pattern of names, another name follow."""

KNOWN = frozenset(Engine) - {Engine.CUSTOM}


def every_query(matchers: str) -> list[str]:
    told = [engine_queries(KNOWN, matchers), picker_queries(matchers), gpu_queries(matchers)]
    return [text for queries in told for text in queries.values()]


def test_the_users_matchers_are_in_every_selector() -> None:
    texts = every_query('cluster="eu"')
    selectors = [found for text in texts for found in re.findall(r"[{,][^{}]*\}", text)]

    assert selectors
    assert all(selector.endswith(('{cluster="eu"}', ',cluster="eu"}')) for selector in selectors)
    assert not any(BARE.search(text) for text in texts)


@pytest.mark.parametrize("engines", [KNOWN, frozenset({Engine.VLLM}), frozenset({Engine.TEI, Engine.TGI})])
def test_the_sum_of_the_questions_is_bounded_whatever_engines_are_in_use(engines: frozenset[Engine]) -> None:
    assert len(engine_queries(engines, "")) <= 7


def test_what_no_engine_in_use_tells_is_not_asked() -> None:
    assert set(engine_queries(frozenset({Engine.TEI}), "")) == {Question.TIMES, Question.RUNNING, Question.WAITING}


def test_names_of_engines_that_are_not_in_use_are_not_asked_for() -> None:
    assert not any("sglang" in text for text in engine_queries(frozenset({Engine.VLLM}), "").values())


def test_a_counter_and_its_start_time_are_told_apart() -> None:
    assert not any("_created" in text or '=~".' in text for text in every_query(""))


def test_no_question_is_too_long_for_a_proxys_line() -> None:
    """8 kB is what nginx takes for the line of a request, and the least of those asked about."""
    assert max(len(quote_plus(text)) for text in every_query('cluster="eu",env="live"')) < 8000
