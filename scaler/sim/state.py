"""All that the fleet model knows: three arrays of records, whose rows the kernel reads and writes.

Time is a whole number of picoseconds since the start, which makes every sum exact: cutting a run into slices, or
running it on another machine, gives the same bits. An int64 holds 106 days of them. A `slot` is a replica's row.

The classes below type the rows; the arrays' layouts follow them.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

TICKS_PER_S: Final = 10**12
NEVER: Final = 2**63 - 1
NOBODY: Final = -1
MOST_SEQS: Final = 256

BOUNDS_S: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""Upper bounds of vLLM 0.32's time_to_first_token_seconds; one bucket more has none (+Inf)."""
BUCKETS: Final = len(BOUNDS_S) + 1


class Mode(IntEnum):
    """What a replica's next event is."""

    IDLE = 0  # none: it has no work
    DECODING = 1  # a sequence finishes; until then nothing but decode steps
    STARTING = 2  # a step that takes prompt tokens begins
    PREFILLING = 3  # that step ends


class Fate(IntEnum):
    """Where a request is."""

    AHEAD = 0  # has not arrived
    HELD = 1  # waits at the gateway for a replica to be ready
    PLACED = 2  # waits or runs on a replica
    FINISHED = 3
    REFUSED = 4  # no version with weight had a ready replica (503), or it fits into no KV cache
    FAILED = 5  # its replica went away under it


class Request(Protocol):
    """One request. ``link`` is the next one in the same queue, ``share`` (0 to 99) its hundredth of the traffic.

    ``slot`` is the replica that it was sent to, NOBODY before.
    """

    arrival_ps: int
    start_ps: int  # when its replica admitted it, NOBODY before
    first_ps: int  # its first token, likewise
    finish_ps: int  # its last
    prompt_tokens: int
    output_tokens: int
    link: int
    slot: int
    share: int
    fate: int


class Replica(Protocol):
    """One replica: its router's view, its state as of its last step boundary, its rates and limits, its counters."""

    next_ps: int
    running: int  # sequences past their first token
    queued: int
    is_open: int  # 1 where new requests may go
    version: int

    mode: int
    boundary_ps: int
    step: int
    kv_tokens: int  # resident tokens of the running
    reserved_tokens: int  # prompt and output of all that are admitted
    pending_tokens: int  # the same of those admitted that are not running yet
    head: int  # of the queue; a request leaves it with its first token
    tail: int
    left_tokens: int  # of the head's prompt, when a step took a part of it; else 0
    held_tokens: int  # the part that steps before this one took
    flight_ps: int  # the step in flight: its duration,
    flight_tokens: int  # its prompt tokens,
    flight_done: int  # and how many of the queue get their first token from it

    alpha_ps: int
    beta_ps: int
    kappa_ps: int
    gamma_ps: int
    delta_ps: int
    kv_limit_tokens: int
    max_seqs: int
    chunk_tokens: int

    prompt_tokens: int
    generation_tokens: int
    finished: int
    steps: int
    busy_ps: int
    token_ns: int  # the durations of the steps by which each running sequence got a token, added up over sequences
    ttft: list[int]  # first tokens by bucket, not cumulated
    finish: list[int]  # finish step and request of each of the running, packed, falling


class Gate(Protocol):
    """The gateway: the request to arrive next, and the queue of those it holds while nobody is ready."""

    next: int
    held: int
    head: int
    tail: int
    holds: int  # 1: it holds them; 0: it refuses them


Rows = NDArray[Any]
REQUEST: Final = np.dtype(
    [
        *((name, np.int64) for name in ("arrival_ps", "start_ps", "first_ps", "finish_ps")),
        *((name, np.int32) for name in ("prompt_tokens", "output_tokens", "link")),
        ("slot", np.int16),
        *((name, np.int8) for name in ("share", "fate")),
    ],
    align=True,
)
NESTED: Final = {"ttft": (BUCKETS,), "finish": (MOST_SEQS,)}
REPLICA: Final = np.dtype([(name, np.int64, NESTED.get(name, ())) for name in Replica.__annotations__], align=True)
GATE: Final = np.dtype([(name, np.int64) for name in Gate.__annotations__], align=True)


class World(NamedTuple):
    """Everything. ``active`` are the slots in use, oldest first; ``bounds`` the upper ends of the versions' shares."""

    requests: Sequence[Request]
    replicas: Sequence[Replica]
    gates: Sequence[Gate]  # one
    active: Sequence[int]
    bounds: Sequence[int]


def ticks(at_s: float) -> int:
    """``at_s`` in picoseconds, rounded to the nanosecond."""
    return round(at_s * 1e9) * 1000


def seconds(at_ps: Ints) -> NDArray[np.float64]:
    """Picoseconds as seconds."""
    return at_ps / TICKS_PER_S
