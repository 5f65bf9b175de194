"""Pages that are wrong on purpose."""

import pytest

from testbed.emulator.faults import Fault, spoiled

PAGE = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="llama",reason="capacity"} 26.0
vllm:generation_tokens_total{engine="0",model_name="llama"} 37522.0
"""


@pytest.mark.parametrize(
    ("fault", "page"),
    [
        (None, PAGE),
        (Fault.EMPTY, ""),
        (Fault.NAN, PAGE.replace(" 2.0", " NaN").replace(" 26.0", " NaN")),
        (Fault.FROZEN, "as it was"),
        (Fault.MISLABELLED, PAGE.replace('"llama"', '"another"')),
    ],
)
def test_a_fault_spoils_what_it_names(fault: Fault | None, page: str) -> None:
    assert spoiled(PAGE, fault, "as it was") == page
