"""What each idea of the core is worth: the core with one of them taken out, from outside.

The core has no switches for this. An idea is a name of a module of the core and what stands there instead while a run
lasts, in the process that runs it. `tests/sim/compare/test_ablation.py` holds that every name exists, and that the core
decides otherwise without it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scaler.core.arrivals import DECODE_WEIGHT
from scaler.core.capacity import Belief, learned
from scaler.core.forecast import SIGNALS_AGE_S
from scaler.core.memory import CapacityMemory, Memory
from scaler.core.model import Demand, Fleet, Load, Missing, Replica, TargetKey, Work
from scaler.sim.compare.cells import Cell, engine_of, traffic
from scaler.sim.compare.suites import SEEDS
from scaler.sim.latency import Engine

SEED: Final = SEEDS[0]
"""Of the traffic that is told beforehand, and so of every run without an idea."""

WINDOW_S: Final = 15.0
A_MINUTE: Final = 4
"""Demand is a rate of a minute, and a minute is so many scrapes."""

Replacement = Callable[[Any, Cell], Any]
"""What stands in the place of the original in a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitution:
    """``place`` is a module and a name in it, as in ``scaler.core.wish:Outlook.idle``."""

    place: str
    replacement: Replacement


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    """``instead`` says in words what is done in the idea's place."""

    name: str
    instead: str
    substitutions: tuple[Substitution, ...]


class NoSuchPlaceError(LookupError):
    """A substitution names what the core does not have."""


@contextmanager
def without(idea: Idea, cell: Cell) -> Iterator[None]:
    """The process has a core without ``idea`` for as long as this lasts. Raises NoSuchPlaceError."""
    originals: list[tuple[object, str, object]] = []
    try:
        for substitution in idea.substitutions:
            owner, name = _found(substitution.place)
            original = getattr(owner, name)
            originals.append((owner, name, original))
            setattr(owner, name, substitution.replacement(original, cell))
        yield
    finally:
        for owner, name, original in reversed(originals):
            setattr(owner, name, original)


def _found(place: str) -> tuple[object, str]:
    """The module or class that ``place`` is in, and its name there."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    try:
        owner: object = import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        getattr(owner, name)
    except (ImportError, AttributeError) as error:
        raise NoSuchPlaceError(f"{place}: the core has no such name") from error
    return owner, name


# --- What stands instead -----------------------------------------------------------------------------------------


def _constant(value: object) -> Replacement:
    return lambda _original, _cell: value


def _always(answer: object) -> Replacement:
    """A function that gives one answer, whatever it is asked."""
    return lambda _original, _cell: lambda *_words, **_named: answer


def _property(value: float) -> Replacement:
    return lambda _original, _cell: property(lambda _self: value)


def _rules_without(name: str) -> Replacement:
    def fewer(rules: Any, _cell: Cell) -> Any:
        kept = tuple(rule for rule in rules if rule.__name__ != name)
        if len(kept) == len(rules):
            raise NoSuchPlaceError(f"scaler.core.limits:RULES: the core has no rule {name}")
        return kept

    return fewer


def _near(original: Any, _cell: Cell) -> Any:
    return lambda course, demand, _ahead_s, *rest: original(course, demand, SIGNALS_AGE_S, *rest)


def _foretold(original: Any, cell: Cell) -> Any:
    """Each look-ahead's highest demand, from the requests themselves; a shrink leaves what it needs, and noise."""
    tokens_per_s = _demand_to_come(cell)

    def forecast(course: Any, demand: Demand, ahead_s: float, *rest: Any) -> Any:
        found = original(course, demand, ahead_s, *rest)
        if isinstance(found, Missing):
            return found
        begin, end = (int(at_s // WINDOW_S) for at_s in (demand.at_s, demand.at_s + ahead_s + WINDOW_S))
        growth = float(tokens_per_s[begin : end + 1].max(initial=0.0)) / found.from_per_s
        return replace(found, growth=growth, steady=growth)

    return forecast


@lru_cache(maxsize=4)
def _demand_to_come(cell: Cell) -> NDArray[np.float64]:
    """The tokens a second that arrive in the minute before the end of each window, decoded ones by their weight."""
    work = traffic(cell)
    windows = int(work.span_s // WINDOW_S) + 2
    tokens = np.zeros(windows)
    for piece in work.pieces(SEED):
        place = np.minimum(piece.arrival_s // WINDOW_S, windows - 1).astype(np.int64)
        each = piece.prompt_tokens + DECODE_WEIGHT * piece.output_tokens
        tokens += np.bincount(place, weights=each, minlength=windows)
    return np.convolve(tokens / WINDOW_S, np.ones(A_MINUTE) / A_MINUTE)[:windows]


def _only_ready(original: Any, _cell: Cell) -> Any:
    """Growth that does not see what is starting asks for it again."""

    def wish(*words: Any) -> Any:
        ruling = original(*words)
        facts = ruling.facts
        is_short = facts.get("wanted", 0) > facts.get("ready", 0)
        return replace(ruling, after=ruling.after + int(facts["starting"])) if is_short else ruling

    return wish


def _in_favour_of_starting(original: Any, _cell: Cell) -> Any:
    """What is ready goes as soon as what was asked for is more than what is wanted, ready or not."""

    def wish(*words: Any) -> Any:
        ruling = original(*words)
        facts = ruling.facts
        return replace(ruling, after=int(facts["wanted"] + facts["asleep"])) if "wanted" in facts else ruling

    return wish


def _demand(**facts: Any) -> Replacement:
    """The demand as it is, but for ``facts``."""

    def replaced(original: Any, _cell: Cell) -> Any:
        def demand_of(*words: Any) -> Any:
            found = original(*words)
            return found if isinstance(found, Missing) else replace(found, **facts)

        return demand_of

    return replaced


def _unadapted(_original: Any, _cell: Cell) -> Any:
    return lambda course, *_words, **_named: course


# --- Capacity that is told, or wrong at the start ----------------------------------------------------------------

FLEET_SHARES: Final = (0.2, 0.35, 0.5, 0.65, 0.8)
LESSONS: Final = 240
"""An hour of steady minutes, one every 15 s: a belief that was sure of itself."""

PROMPT_TOKENS: Final = 1155.0
ANSWER_TOKENS: Final = 211.0
"""The means of the conversations of azure2023-conv."""


def truth(engine: Engine, slow: float) -> Belief:
    """What a replica of ``engine`` that is ``slow`` times as slow takes for its work."""
    ms = slow / 1e3
    return Belief(
        step_s=engine.alpha_ms * ms,
        decode_s=engine.beta_ms * ms,
        cache_s=engine.kappa_ms * ms * engine.kv_tokens / 1e3,
        prefill_s=engine.delta_ms * ms,
        sequences_most=float(engine.max_seqs),
        lines=1.0,
    )


def _told(slow: float) -> Replacement:
    return lambda _original, cell: lambda *_words: truth(engine_of(cell), slow)


def _taught(slow: float) -> Replacement:
    """Learning that begins with an hour of replicas that were ``slow`` times as slow."""

    def replaced(original: Any, cell: Cell) -> Any:
        def learned_of(memory: Memory, fleets: Any, *rest: Any) -> Any:
            if not memory.capacities:
                taught = tuple(taught_by(engine_of(cell), slow, key) for key in fleets)
                memory = replace(memory, capacities=taught)
            return original(memory, fleets, *rest)

        return learned_of

    return replaced


def taught_by(engine: Engine, slow: float, key: TargetKey) -> CapacityMemory:
    """What an hour of replicas of ``engine`` that are ``slow`` times as slow teaches, by the core's own learning."""
    memory = CapacityMemory(key=key, node_class=None)
    for lesson in range(LESSONS):
        at_s = 15.0 * (lesson - LESSONS)  # before the run
        share = FLEET_SHARES[lesson % len(FLEET_SHARES)]
        replica = Replica(
            name="before",
            created_at_s=at_s - 3600.0,
            ready_at_s=at_s - 3000.0,
            is_ready=True,
            load=_minute(truth(engine, slow), engine, share, at_s),
        )
        memory = learned(memory, Fleet(requested=1, replicas=(replica,)))
    return memory


def _minute(belief: Belief, engine: Engine, share: float, at_s: float) -> Load:
    """A minute at ``share`` of what a replica carries: L = a + b*B + k*U + d*P*L with B = G*L is linear in L."""
    cache_share = (PROMPT_TOKENS + ANSWER_TOKENS / 2.0) / engine.kv_tokens
    sequence_s = belief.decode_s + belief.cache_s * cache_share
    batch = min(belief.sequences_most, 1.0 / cache_share)
    request_s = ANSWER_TOKENS * (belief.step_s / batch + sequence_s) + PROMPT_TOKENS * belief.prefill_s
    requests_per_s = share / request_s
    decode_per_s, prefill_per_s = requests_per_s * ANSWER_TOKENS, requests_per_s * PROMPT_TOKENS
    latency_s = belief.step_s / (1.0 - decode_per_s * sequence_s - prefill_per_s * belief.prefill_s)
    running = decode_per_s * latency_s
    work = Work(
        prefill_tokens_per_s=prefill_per_s,
        decode_tokens_per_s=decode_per_s,
        finished_per_s=requests_per_s,
        inter_token_latency_s=latency_s,
    )
    return Load(at_s=at_s, running=running, waiting=0.0, kv_usage=running * cache_share, work=work)


# --- The ideas ---------------------------------------------------------------------------------------------------

NOTHING: Final = Idea(name="nothing", instead="the core as it is", substitutions=())


def _idea(name: str, instead: str, *places: tuple[str, Replacement]) -> Idea:
    substitutions = tuple(
        Substitution(place=f"scaler.core.{place}", replacement=replacement) for place, replacement in places
    )
    return Idea(name=name, instead=instead, substitutions=substitutions)


IDEAS: Final = (
    _idea(
        "look-ahead",
        "growth is foreseen for as long as signals are old (45 s), not for a load time",
        ("need:_ahead_s", _always(SIGNALS_AGE_S)),
        ("need:forecast", _near),
    ),
    _idea("headroom", "demand is expected to stay as it is", ("forecast:_expected", _always(1.0))),
    _idea(
        "heavy-tailed prior",
        "growth is what the service has shown, and none before it has shown any",
        ("forecast:PRIOR", _constant(((1.0, 1.0),))),
    ),
    _idea("coverage that follows misses", "the newsvendor's share, for ever", ("need:adapted", _unadapted)),
    _idea(
        "growth by trend",
        "a rise is expected to go on as any moment does",
        ("forecast:TRENDS_FROM", _constant(2.0)),
    ),
    _idea("calmer base", "growth is told over the last value alone", ("forecast:is_calmer", _always(False))),  # noqa: FBT003
    _idea(
        "bound on growth",
        "growth is believed however high it leads",
        ("forecast:BEYOND_HIGHEST", _constant(1e9)),
    ),
    _idea("idle for the tail", "none is idle so that waits stay short", ("wish:Outlook.idle", _property(0.0))),
    _idea("starting counts on the way up", "what is starting is asked for again", ("decide:wish_of", _only_ready)),
    _idea(
        "only ready counts on the way down",
        "what is ready goes in favour of what is starting",
        ("decide:wish_of", _in_favour_of_starting),
    ),
    _idea("working off the queue", "no replicas for what waits", ("wish:Outlook.drain", _property(0.0))),
    _idea("the queue as demand", "requests that wait are not seen at all", ("need:demand_of", _demand(waiting=0.0))),
    _idea(
        "consolidation",
        "a shrink leaves what the peak to expect needs, and no more",
        ("limits:RULES", _rules_without("consolidate")),
    ),
    _idea("hold", "a dip need not last", ("limits:RULES", _rules_without("hold"))),
    _idea("step down", "all that is too many goes at once", ("limits:RULES", _rules_without("step_down"))),
    _idea("flap budget", "turns are not counted", ("limits:RULES", _rules_without("flaps"))),
    _idea(
        "first tokens for the floor",
        "what is late is told by the queue alone, as without an objective for first tokens",
        ("counting:believable", _always(Missing(why="first tokens are taken out"))),
    ),
    _idea("advised floor", "the advice is not followed", ("need:advised", _always(()))),
    _idea("steady minutes only", "every minute teaches capacity", ("need:is_steady", _always(True))),  # noqa: FBT003
    _idea(
        "demand in tokens",
        "24 requests in flight to a replica",
        ("need:demand_of", _demand(tokens=Missing(why="tokens are taken out"))),
    ),
    _idea("forecast: told the future", "the highest demand of each look-ahead is known", ("need:forecast", _foretold)),
    _idea("learning: told the truth", "the engine's own parameters, from the start", ("need:believed", _told(1.0))),
    _idea("learning: told twice as fast", "parameters half as large, for ever", ("need:believed", _told(0.5))),
    _idea("learning: told half as fast", "parameters twice as large, for ever", ("need:believed", _told(2.0))),
    _idea(
        "a true start: wrong by 2, too fast",
        "learning begins with an hour of replicas twice as fast",
        ("decide:learned_of", _taught(0.5)),
    ),
    _idea(
        "a true start: wrong by 2, too slow",
        "learning begins with an hour of replicas half as fast",
        ("decide:learned_of", _taught(2.0)),
    ),
)
