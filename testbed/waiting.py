"""Waiting for a condition with a deadline: the only place of the testbed that lets time pass."""

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def wait_for(
    what: str,
    look: Callable[[], Seen],
    until: Callable[[Seen], bool] = bool,
    *,
    within_s: float = 60.0,
    every_s: float = 0.05,
) -> Seen:
    """What ``look`` returned when ``until`` first held of it; `TimeoutError` names the last thing seen.

    The deadline is for what never comes: a controller alone takes 30 s to start on two cores with a load of 25.
    """
    deadline_s = now_s() + within_s
    while not until(seen := look()):
        if now_s() >= deadline_s:
            raise TimeoutError(f"{what}: not within {within_s:g} s; last seen: {seen!r:.2000}")
        time.sleep(every_s)  # noqa: TID251 - the one poll; a deadline bounds it
        # What takes long need not be seen to the moment, and listing 300 pods keeps the API server busy.
        every_s = min(every_s * 1.3, 1.0)
    return seen


def now_s() -> float:
    """Seconds on a clock that never goes back; only differences mean something."""
    return time.monotonic()  # noqa: TID251 - real processes live on the real clock
