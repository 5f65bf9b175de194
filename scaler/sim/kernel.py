"""The dynamics of the fleet model, compiled. No work per token, no object per request, integers only.

A running sequence gains one token a step, so between events a replica's future is known: k decode steps take a closed
form of k, and a sequence whose prefill ends in step S has its g-th token in step S + g - 1. Events are therefore the
end of a sequence and the begin and end of a step that takes prompt tokens. Ends at an instant come before arrivals at
it, and steps begin after them. The first token of a request comes with the end of the step that takes the last of its
prompt. Admission knows how long each answer will be and takes a request only when the KV cache will hold all to their
ends, so nothing is ever preempted (a real engine admits on hope and preempts).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from scaler.sim.jit import compiled
from scaler.sim.state import (
    BOUNDS_S,
    BUCKETS,
    NEVER,
    NOBODY,
    TICKS_PER_S,
    Fate,
    Ints,
    Mode,
    Replica,
    Request,
    World,
)

IDLE: Final = int(Mode.IDLE)
DECODING: Final = int(Mode.DECODING)
STARTING: Final = int(Mode.STARTING)
PREFILLING: Final = int(Mode.PREFILLING)
HELD: Final = int(Fate.HELD)
PLACED: Final = int(Fate.PLACED)
FINISHED: Final = int(Fate.FINISHED)
REFUSED: Final = int(Fate.REFUSED)
FAILED: Final = int(Fate.FAILED)
LAST_BUCKET: Final = BUCKETS - 1
BOUNDS_PS: Final = np.array([round(bound_s * TICKS_PER_S) for bound_s in BOUNDS_S], dtype=np.int64)
REQUEST_BITS: Final = 31
REQUEST_MASK: Final = (1 << REQUEST_BITS) - 1


# --- The running sequences, the first to finish last: finish step in the high bits, request in the low ones ----------


@compiled
def insert(finish: list[int], size: int, key: int) -> None:
    """Put ``key`` into the ``size`` keys, which fall. Few are moved at a time: at most max_seqs, mostly some dozens."""
    place = size
    while place > 0 and finish[place - 1] < key:
        finish[place] = finish[place - 1]
        place -= 1
    finish[place] = key


# --- Decode steps ------------------------------------------------------------------------------------------------


@compiled
def decode_ps(replica: Replica) -> int:
    """The duration of the next step if it is a decode step alone."""
    return replica.alpha_ps + replica.beta_ps * replica.running + replica.kappa_ps * replica.kv_tokens


@compiled
def stretch_ps(replica: Replica, steps: int) -> int:
    """The duration of the next ``steps`` decode steps: each has one token more of every sequence to read."""
    growth_ps = replica.kappa_ps * replica.running
    return steps * decode_ps(replica) + growth_ps * (steps * (steps - 1) // 2)


@compiled
def steps_to_cover(replica: Replica, span_ps: int) -> int:
    """The fewest decode steps that take ``span_ps`` or longer.

    The root of the quadratic is a guess in floating point; the answer is the integer that the exact durations confirm.
    """
    if span_ps <= 0:
        return 0
    growth_ps = replica.kappa_ps * replica.running
    slope = decode_ps(replica) - growth_ps * 0.5
    steps = int(2.0 * span_ps / (slope + math.sqrt(slope * slope + 2.0 * growth_ps * span_ps)))
    while stretch_ps(replica, steps) < span_ps:
        steps += 1
    while steps > 0 and stretch_ps(replica, steps - 1) >= span_ps:
        steps -= 1
    return steps


@compiled
def decode(replica: Replica, steps: int) -> None:
    """Do ``steps`` decode steps, none of which may be beyond the next finish."""
    span_ps = stretch_ps(replica, steps)
    tokens = steps * replica.running
    replica.boundary_ps += span_ps
    replica.step += steps
    replica.kv_tokens += tokens
    replica.generation_tokens += tokens
    replica.steps += steps
    replica.busy_ps += span_ps
    # In nanoseconds: in picoseconds 256 sequences overrun 64 bits after ten hours.
    replica.token_ns += replica.running * span_ps // 1000


@compiled
def steps_to_finish(replica: Replica) -> int:
    """The decode steps until the first of the running sequences has its last token."""
    return (replica.finish[replica.running - 1] >> REQUEST_BITS) - replica.step


@compiled
def finish_due(requests: Sequence[Request], replica: Replica) -> None:
    """Let go the sequences that had their last token in the step that has just ended."""
    while replica.running > 0 and steps_to_finish(replica) <= 0:
        replica.running -= 1
        request = requests[replica.finish[replica.running] & REQUEST_MASK]
        replica.kv_tokens -= request.prompt_tokens + request.output_tokens - 1
        replica.reserved_tokens -= request.prompt_tokens + request.output_tokens
        replica.finished += 1
        request.finish_ps = replica.boundary_ps
        request.fate = FINISHED


# --- Steps that take prompt tokens -------------------------------------------------------------------------------


@compiled
def peak_kv_tokens(requests: Sequence[Request], replica: Replica) -> int:
    """The most tokens that the running sequences will have resident at any time from now on.

    With f the step in which a sequence of n tokens finishes, it has n - 1 - f + s of them at step s. Their sum rises
    until the next one finishes, so the peak is at one of the finishes.
    """
    peak = replica.kv_tokens
    rest = replica.kv_tokens - replica.running * replica.step  # the sum of n - 1 - f
    for left in range(replica.running, 0, -1):
        key = replica.finish[left - 1]
        step = key >> REQUEST_BITS
        peak = max(peak, rest + left * step)
        request = requests[key & REQUEST_MASK]
        rest -= request.prompt_tokens + request.output_tokens - 1 - step
    return peak


@compiled
def fits(requests: Sequence[Request], replica: Replica, request: Request, admitted: int) -> bool:
    """Whether ``request`` may be admitted beside the running sequences and ``admitted`` of the queue.

    It may when the KV cache will hold them all until each has its last token; whoever is not running yet counts in
    full. The peak is worked out only where the plain sum of all tokens, which is never lower, does not fit.
    """
    if replica.running + admitted >= replica.max_seqs:
        return False
    room_tokens = replica.kv_limit_tokens - request.prompt_tokens - request.output_tokens
    if replica.reserved_tokens <= room_tokens:
        return True
    return peak_kv_tokens(requests, replica) + replica.pending_tokens <= room_tokens


@compiled
def can_prefill(requests: Sequence[Request], replica: Replica) -> bool:
    """Whether the next step takes prompt tokens: the head of the queue is under way or may be admitted."""
    if replica.queued == 0:
        return False
    return replica.left_tokens > 0 or fits(requests, replica, requests[replica.head], 0)


@compiled
def settle(requests: Sequence[Request], replica: Replica) -> None:
    """Find the next event, at a step boundary."""
    if can_prefill(requests, replica):
        replica.mode = STARTING
        replica.next_ps = replica.boundary_ps + 1  # after whatever arrives at the boundary
    elif replica.running > 0:
        replica.mode = DECODING
        replica.next_ps = replica.boundary_ps + stretch_ps(replica, steps_to_finish(replica))
    else:
        replica.mode = IDLE
        replica.next_ps = NEVER


@compiled
def fill(requests: Sequence[Request], replica: Replica) -> None:
    """Fill the step with prompt tokens, first come first served, and admit requests as it goes."""
    left, place = replica.left_tokens, replica.head
    tokens, done = 0, 0
    while place != NOBODY and tokens < replica.chunk_tokens:
        request = requests[place]
        if left == 0:
            if not fits(requests, replica, request, done):
                break
            left = request.prompt_tokens
            request.start_ps = replica.boundary_ps
            replica.reserved_tokens += left + request.output_tokens
            replica.pending_tokens += left + request.output_tokens
        taken = min(left, replica.chunk_tokens - tokens)
        tokens += taken
        left -= taken
        if left > 0:
            break
        done += 1
        place = request.link
    replica.left_tokens = left
    replica.flight_tokens = tokens
    replica.flight_done = done


@compiled
def start(requests: Sequence[Request], replica: Replica) -> None:
    """Begin a step that takes prompt tokens beside a token of every running sequence."""
    fill(requests, replica)
    floor_ps = decode_ps(replica) if replica.running > 0 else replica.gamma_ps
    replica.flight_ps = floor_ps + replica.delta_ps * replica.flight_tokens
    replica.mode = PREFILLING
    replica.next_ps = replica.boundary_ps + replica.flight_ps


@compiled
def bucket(ttft_ps: int) -> int:
    """The histogram's bucket for ``ttft_ps``."""
    low, high = 0, LAST_BUCKET
    while low < high:
        middle = (low + high) >> 1
        if ttft_ps <= BOUNDS_PS[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def seat(requests: Sequence[Request], replica: Replica) -> None:
    """Move the head of the queue among the running sequences, with its first token."""
    place = replica.head
    request = requests[place]
    replica.head = request.link
    replica.queued -= 1
    request.first_ps = replica.boundary_ps
    replica.ttft[bucket(request.first_ps - request.arrival_ps)] += 1
    last_step = replica.step + request.output_tokens - 1
    insert(replica.finish, replica.running, (last_step << REQUEST_BITS) | place)
    replica.running += 1
    replica.kv_tokens += request.prompt_tokens
    replica.pending_tokens -= request.prompt_tokens + request.output_tokens


@compiled
def land(requests: Sequence[Request], replica: Replica) -> None:
    """End the step in flight."""
    replica.boundary_ps += replica.flight_ps
    replica.step += 1
    replica.kv_tokens += replica.running
    replica.generation_tokens += replica.running + replica.flight_done
    replica.prompt_tokens += replica.flight_tokens
    replica.steps += 1
    replica.busy_ps += replica.flight_ps
    replica.token_ns += replica.running * replica.flight_ps // 1000
    for _ in range(replica.flight_done):
        seat(requests, replica)
    left = replica.left_tokens
    replica.held_tokens = requests[replica.head].prompt_tokens - left if left > 0 else 0
    replica.flight_tokens = 0
    replica.flight_done = 0


# --- Time and arrivals -------------------------------------------------------------------------------------------


@compiled
def run(requests: Sequence[Request], replica: Replica, until_ps: int) -> None:
    """Let the replica's events up to ``until_ps`` happen."""
    while replica.next_ps <= until_ps:
        if replica.mode == STARTING:
            start(requests, replica)
            continue
        if replica.mode == PREFILLING:
            land(requests, replica)
        else:
            decode(replica, steps_to_finish(replica))
        finish_due(requests, replica)
        settle(requests, replica)


@compiled
def interrupt(replica: Replica, at_ps: int) -> None:
    """End the stretch of decode steps at its first boundary from ``at_ps`` on, for the head of the queue."""
    steps = steps_to_cover(replica, at_ps - replica.boundary_ps)
    if steps < steps_to_finish(replica):
        decode(replica, steps)
        replica.mode = STARTING
        replica.next_ps = replica.boundary_ps + 1


@compiled
def place(world: World, replica: Replica, number: int, at_ps: int) -> None:
    """Put request ``number`` at the end of the replica's queue; the replica has been run up to ``at_ps``."""
    request = world.requests[number]
    request.fate = PLACED
    request.link = NOBODY
    if replica.queued == 0:
        replica.head = number
    else:
        world.requests[replica.tail].link = number
    replica.tail = number
    replica.queued += 1
    if replica.mode == IDLE:
        replica.boundary_ps = at_ps
        replica.mode = STARTING
        replica.next_ps = at_ps + 1
    elif replica.mode == DECODING and replica.queued == 1 and fits(world.requests, replica, request, 0):
        interrupt(replica, at_ps)


@compiled
def version_of(bounds: Sequence[int], share: int) -> int:
    """The version that this hundredth of the traffic goes to."""
    version = 0
    while version < len(bounds) - 1 and share >= bounds[version]:
        version += 1
    return version


@compiled
def least_loaded(world: World, version: int, at_ps: int) -> int:
    """Run all replicas up to ``at_ps``, and of the open ones of ``version`` the one with the fewest requests.

    Of several the oldest; NOBODY when none is open.
    """
    best, fewest = NOBODY, NEVER
    for slot in world.active:
        replica = world.replicas[slot]
        if replica.next_ps <= at_ps:
            run(world.requests, replica, at_ps)
        outstanding = replica.running + replica.queued
        if outstanding < fewest and replica.is_open == 1 and replica.version == version:
            best, fewest = slot, outstanding
    return best


@compiled
def hold(world: World, number: int) -> None:
    """Let request ``number`` wait at the gateway until a replica is ready."""
    gate, request = world.gates[0], world.requests[number]
    request.fate = HELD
    request.link = NOBODY
    if gate.held == 0:
        gate.head = number
    else:
        world.requests[gate.tail].link = number
    gate.tail = number
    gate.held += 1


@compiled
def deliver(world: World, number: int, at_ps: int) -> None:
    """Send request ``number`` to a replica, or answer for there being none."""
    request = world.requests[number]
    slot = least_loaded(world, version_of(world.bounds, request.share), at_ps)
    if slot == NOBODY and world.gates[0].holds == 1:
        hold(world, number)
    elif slot == NOBODY or request.prompt_tokens + request.output_tokens > world.replicas[slot].kv_limit_tokens:
        request.fate = REFUSED
    else:
        request.slot = slot
        place(world, world.replicas[slot], number, at_ps)


@compiled
def advance(world: World, until_ps: int) -> None:
    """Let everything up to ``until_ps`` happen, arrivals at that instant included."""
    gate = world.gates[0]
    while gate.next < len(world.requests) and world.requests[gate.next].arrival_ps <= until_ps:
        deliver(world, gate.next, world.requests[gate.next].arrival_ps)
        gate.next += 1
    for slot in world.active:
        run(world.requests, world.replicas[slot], until_ps)


# --- What is done to a fleet from outside, at an instant up to which it has been advanced --------------------------


@compiled
def release_held(world: World, at_ps: int) -> None:
    """Send on what the gateway holds, as far as anybody is ready for it."""
    gate = world.gates[0]
    waiting, number = gate.held, gate.head
    gate.held = 0
    for _ in range(waiting):
        following = world.requests[number].link
        deliver(world, number, at_ps)
        number = following


@compiled
def drop(requests: Sequence[Request], replica: Replica) -> int:
    """Fail all requests of a replica that goes away, and their number; it is empty afterwards."""
    dropped = replica.running + replica.queued
    for seat_number in range(replica.running):
        requests[replica.finish[seat_number] & REQUEST_MASK].fate = FAILED
    number = replica.head
    for _ in range(replica.queued):
        requests[number].fate = FAILED
        number = requests[number].link
    clear(replica)
    return dropped


@compiled
def clear(replica: Replica) -> None:
    """Forget the work of a replica, not what it has counted."""
    replica.mode = IDLE
    replica.next_ps = NEVER
    replica.running = 0
    replica.queued = 0
    replica.kv_tokens = 0
    replica.reserved_tokens = 0
    replica.pending_tokens = 0
    replica.left_tokens = 0
    replica.held_tokens = 0
    replica.flight_tokens = 0
    replica.flight_done = 0


@compiled
def look(replica: Replica, now_ps: int, seen: Ints) -> None:
    """Write the readings of a replica as of ``now_ps`` (see plant.Reading for their order).

    A step counts when it has ended: the full steps of a stretch are done first, and where a stretch was cut for an
    arrival, its last step, still under way, is taken off.
    """
    if replica.mode == DECODING:
        decode(replica, steps_to_cover(replica, now_ps - replica.boundary_ps + 1) - 1)
    is_ahead = replica.mode == STARTING and replica.boundary_ps > now_ps
    ahead = replica.running if is_ahead else 0
    ahead_ps = decode_ps(replica) - replica.kappa_ps * replica.running if is_ahead else 0
    admitted = replica.flight_done + (1 if replica.left_tokens > 0 else 0)
    seen[0] = replica.running + admitted
    seen[1] = replica.queued - admitted
    seen[2] = replica.kv_tokens + replica.held_tokens + replica.flight_tokens - ahead
    seen[3] = replica.prompt_tokens
    seen[4] = replica.generation_tokens - ahead
    seen[5] = replica.finished
    seen[6] = replica.steps - (1 if is_ahead else 0)
    seen[7] = replica.busy_ps - ahead_ps
    seen[8] = replica.token_ns - replica.running * ahead_ps // 1000
    first_tokens = 0
    for count in replica.ttft:
        first_tokens += count
    seen[9] = first_tokens


@compiled
def look_at_all(world: World, now_ps: int, seen: Ints) -> None:
    """Write a row of readings for every slot in use."""
    for row in range(len(world.active)):
        look(world.replicas[world.active[row]], now_ps, seen[row])
