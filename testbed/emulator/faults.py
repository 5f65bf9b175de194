"""Pages that are wrong in a way that has been seen, for tests of what is made of them."""

import re
from enum import Enum, auto
from typing import Final, assert_never

GAUGE_NAMES: Final = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
GAUGE: Final = re.compile(rf"^(vllm:(?:{'|'.join(GAUGE_NAMES)})\S*) \S+$", re.MULTILINE)
MODEL: Final = re.compile(r'model_name="[^"]*"')


class Fault(Enum):
    """What is wrong with a server's page."""

    EMPTY = auto()  # it is there and has no samples: the series end
    NAN = auto()  # what runs, waits and is cached is not a number
    FROZEN = auto()  # it stays what it was when the fault began, with fresh times
    MISLABELLED = auto()  # its model has another name


def spoiled(text: str, fault: Fault | None, when_it_began: str) -> str:
    """The page with the fault; ``when_it_began`` is the page of then."""
    match fault:
        case None:
            return text
        case Fault.EMPTY:
            return ""
        case Fault.NAN:
            return GAUGE.sub(r"\1 NaN", text)
        case Fault.FROZEN:
            return when_it_began
        case Fault.MISLABELLED:
            return MODEL.sub('model_name="another"', text)
        case _:
            assert_never(fault)
