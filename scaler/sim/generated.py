"""Services that nobody has looked at: families of traffic with random parameters, the same for the same seed.

Seeds below 100 are for tuning. Figures are reported on other seeds only, and on none that was run before: what was
tuned on a handful of series is known to fall apart on others.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scaler.sim.latency import Engine
from scaler.sim.oracle import work_s
from scaler.sim.trace import Trace
from scaler.sim.workload import PIECE_S

FIRST_REPORTED: Final = 100
HOUR_S: Final = 3600
DAY_S: Final = 86400
SATURDAY: Final = 5.0  # the sixth day of a week that begins on Monday
FEWEST_HOURS: Final = 6  # shorter, and an on/off service may not come on
MINUTE_S: Final = 60
MOST_PROMPT: Final = 12_000
MOST_OUTPUT: Final = 4_000
SAMPLED: Final = 10_000
DIGITS: Final = 6  # sines and exponentials of two machines agree this far
LEAST_LEVEL: Final = 0.02  # of the daily wave's middle: nights are quiet, not empty

Shape = NDArray[np.float64]


class TuningSeedError(ValueError):
    """A seed that rules were tuned on, where one is wanted that they have not seen."""


class Family(StrEnum):
    """What a service's traffic is like."""

    DAILY = "daily"
    ON_OFF = "on-off"
    JUMP = "jump"
    BURSTS = "bursts"
    LAUNCH = "launch"
    DECAY = "decay"
    DRIFT = "drift"
    GAPS = "gaps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of a request: log-normal around a median that moves to ``drift`` times itself by the end."""

    median_tokens: float
    sigma: float
    drift: float
    most_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeneratedService:
    """One service. ``shape`` is its rate of requests in each second, as a multiple of the mean over the whole."""

    seed: int
    family: Family
    shape: Shape
    prompt: Lengths
    output: Lengths

    def __post_init__(self) -> None:
        self.shape.setflags(write=False)

    @property
    def name(self) -> str:
        """Family and seed."""
        return f"{self.family}-{self.seed}"


def service(seed: int, hours: int = 24) -> GeneratedService:
    """The service of ``seed``: below 100 for tuning, from 100 on for reporting.

    Families take turns by seed, so that any run of seeds holds as many of each. Another number of hours makes another
    service: its noise differs, and launches and jumps are placed by share of the whole.
    Raises ValueError when there are too few hours for a family to show.
    """
    if hours < FEWEST_HOURS:
        raise ValueError(f"hours = {hours}: must be at least {FEWEST_HOURS}")
    family = list(Family)[seed % len(Family)]
    generator = np.random.Generator(np.random.PCG64(seed))
    seconds = hours * HOUR_S
    level = FAMILIES[family](generator, seconds) * noise(generator, seconds)
    is_drifting = family is Family.DRIFT
    return GeneratedService(
        seed=seed,
        family=family,
        shape=np.asarray(np.round(level / np.mean(level), DIGITS), dtype=np.float64),
        prompt=lengths(generator, (200.0, 3000.0), (0.4, 4.0) if is_drifting else (1.0, 1.0), MOST_PROMPT),
        output=lengths(generator, (40.0, 500.0), (0.4, 2.5) if is_drifting else (1.0, 1.0), MOST_OUTPUT),
    )


def reported(seeds: Iterable[int]) -> tuple[int, ...]:
    """``seeds``, when figures may be reported on all of them. Raises TuningSeedError."""
    wanted = tuple(seeds)
    for seed in wanted:
        if seed < FIRST_REPORTED:
            raise TuningSeedError(f"seed = {seed}: is for tuning; a report takes seeds from {FIRST_REPORTED} on")
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """A service's traffic at a mean of ``mean_rps``: a `workload.Workload`, arrivals by Poisson to the millisecond."""

    service: GeneratedService
    mean_rps: float

    @property
    def name(self) -> str:
        """The service's."""
        return self.service.name

    @property
    def span_s(self) -> float:
        """The whole shape."""
        return float(len(self.service.shape))

    def times(self, factor: float) -> "Generated":
        """The same with ``factor`` times the traffic."""
        return replace(self, mean_rps=self.mean_rps * factor)

    def pieces(self, seed: int) -> Iterator[Trace]:
        """The requests, drawn as they are asked for."""
        generator = np.random.Generator(np.random.PCG64(seed))
        rps = self.service.shape * self.mean_rps
        for begin_s in range(0, len(rps), PIECE_S):
            counts = generator.poisson(rps[begin_s : begin_s + PIECE_S])
            second = np.repeat(np.arange(begin_s, begin_s + len(counts)), counts)
            arrival_ms = np.sort(second * 1000 + generator.integers(0, 1000, len(second)))
            progress = arrival_ms / (1000.0 * len(rps))
            yield Trace(
                name=self.name,
                arrival_s=arrival_ms / 1000.0,
                prompt_tokens=tokens(self.service.prompt, progress, generator),
                output_tokens=tokens(self.service.output, progress, generator),
            )


def filled(made: GeneratedService, engine: Engine, pool: float) -> Generated:
    """The service at a size whose work keeps ``pool`` replicas of ``engine`` busy on average, by `oracle.work_s`.

    The lengths are of 10,000 requests spread over the span as the rate is, so a drift is weighed as it will come.
    """
    generator = np.random.Generator(np.random.PCG64(made.seed))
    progress = np.searchsorted(np.cumsum(made.shape), generator.random(SAMPLED) * float(made.shape.sum()))
    drawn = [tokens(kind, progress / len(made.shape), generator) for kind in (made.prompt, made.output)]
    work = work_s(engine, drawn[0].astype(np.float64), drawn[1].astype(np.float64))
    return Generated(service=made, mean_rps=round(pool / float(np.mean(work)), DIGITS))


def tokens(kind: Lengths, progress: Shape, generator: np.random.Generator) -> NDArray[np.int32]:
    """A length for each request, which came when ``progress`` (0 to 1) of the time was over."""
    drawn = kind.median_tokens * kind.drift**progress * np.exp(kind.sigma * generator.standard_normal(len(progress)))
    return np.clip(np.rint(np.round(drawn, DIGITS)), 1, kind.most_tokens).astype(np.int32)


def lengths(
    generator: np.random.Generator, medians: tuple[float, float], drifts: tuple[float, float], most_tokens: int
) -> Lengths:
    """Random lengths, median and drift each as likely in every octave of their range."""
    return Lengths(
        median_tokens=round(octave(generator, *medians), DIGITS),
        sigma=round(generator.uniform(0.5, 1.0), DIGITS),
        drift=round(octave(generator, *drifts), DIGITS),
        most_tokens=most_tokens,
    )


def octave(generator: np.random.Generator, low: float, high: float) -> float:
    """Between ``low`` and ``high``, as likely in every octave."""
    return float(low * (high / low) ** generator.random())


# --- What all families share -------------------------------------------------------------------------------------


def noise(generator: np.random.Generator, seconds: int) -> Shape:
    """Around 1, from minute to minute 2 to 10 % of the level, each minute half like the one before."""
    size = generator.uniform(0.02, 0.10)
    minutes = seconds // MINUTE_S + 2
    drawn = generator.standard_normal(minutes)
    for minute in range(1, minutes):
        drawn[minute] = 0.5 * drawn[minute - 1] + 0.866 * drawn[minute]  # 0.866 keeps the variance at 1
    course = np.interp(np.arange(seconds), np.arange(minutes) * MINUTE_S, drawn)
    return np.asarray(np.maximum(0.2, 1.0 + size * course), dtype=np.float64)


def wave(generator: np.random.Generator, seconds: int, depth: tuple[float, float]) -> Shape:
    """A day's wave around 1 with a second, smaller one twice a day; the hour of the start is random."""
    first = generator.uniform(*depth)
    second = first * generator.uniform(0.0, 0.4)
    begin, lag = generator.random(2)
    turn = 2.0 * np.pi * (np.arange(seconds) / DAY_S + begin)
    course = 1.0 + first * np.sin(turn) + second * np.sin(2.0 * (turn + np.pi * lag))
    return np.asarray(np.maximum(LEAST_LEVEL, course), dtype=np.float64)


# --- Families ----------------------------------------------------------------------------------------------------


def daily(generator: np.random.Generator, seconds: int) -> Shape:
    """Days and nights, weekends of their own level from a random weekday on, growth or loss by the day."""
    days = np.arange(seconds) / DAY_S
    weekend = generator.uniform(0.2, 1.1)
    first_day = generator.uniform(0.0, 7.0)
    growth = generator.uniform(0.95, 1.15)
    is_weekend = (days + first_day) % 7.0 >= SATURDAY
    return wave(generator, seconds, (0.3, 0.95)) * growth**days * np.where(is_weekend, weekend, 1.0)


def on_off(generator: np.random.Generator, seconds: int) -> Shape:
    """Work that comes and goes: periods of minutes to hours of random length, on for a random share of them."""
    mean_s = octave(generator, 10 * MINUTE_S, 4 * HOUR_S)
    duty = generator.uniform(0.1, 0.8)
    level = np.full(seconds, generator.choice([0.0, 0.02, 0.1]))
    begin_s = int(generator.uniform(0.0, 0.5) * mean_s)
    while begin_s < seconds:
        period_s = mean_s * generator.uniform(0.5, 1.5)
        level[begin_s : begin_s + max(MINUTE_S, int(period_s * duty))] = generator.uniform(0.8, 1.2)
        begin_s += max(2 * MINUTE_S, int(period_s))
    return level


def jump(generator: np.random.Generator, seconds: int) -> Shape:
    """A level 1.5 to 5 times all that was before, reached within two minutes, for an hour or for good."""
    before = wave(generator, seconds, (0.0, 0.3))
    begin_s = int(generator.uniform(0.3, 0.7) * seconds)
    ramp_s = int(generator.uniform(1.0, 120.0))
    level = generator.uniform(1.5, 5.0) * float(np.max(before[:begin_s]))
    lasts_s = seconds if generator.integers(2) else int(octave(generator, HOUR_S / 3, 4 * HOUR_S))
    above = np.interp(np.arange(seconds), [begin_s, begin_s + ramp_s], [0.0, 1.0])
    above[begin_s + ramp_s + lasts_s :] = 0.0
    return before + above * (level - before)


def bursts(generator: np.random.Generator, seconds: int) -> Shape:
    """A calm wave on which single clients put bursts of seconds to minutes, of up to seven times the mean."""
    level = wave(generator, seconds, (0.0, 0.5))
    every_s = octave(generator, 10 * MINUTE_S, 2 * HOUR_S)
    begin_s = generator.exponential(every_s)
    while begin_s < seconds:
        lasts_s = octave(generator, 5.0, 5 * MINUTE_S)
        level[int(begin_s) : int(begin_s + lasts_s) + 1] += generator.uniform(1.0, 7.0)
        begin_s += lasts_s + generator.exponential(every_s)
    return level


def launch(generator: np.random.Generator, seconds: int) -> Shape:
    """Nothing, then in a minute to two hours everything, of which a part stays."""
    begin_s = int(generator.uniform(0.1, 0.5) * seconds)
    rise_s = octave(generator, MINUTE_S, 2 * HOUR_S)
    stays = generator.uniform(0.3, 1.0)
    fade_s = octave(generator, HOUR_S, 8 * HOUR_S)
    course = np.interp(
        np.arange(seconds), [begin_s, begin_s + rise_s, begin_s + rise_s + fade_s], [0.0, 1.0, stays], left=0.0
    )
    return course * wave(generator, seconds, (0.0, 0.4))


def decay(generator: np.random.Generator, seconds: int) -> Shape:
    """Users leave: half of the traffic is gone after a sixth to two thirds of the time, on top of days and nights."""
    half_s = generator.uniform(1.0 / 6.0, 2.0 / 3.0) * seconds
    return wave(generator, seconds, (0.2, 0.7)) * np.asarray(0.5 ** (np.arange(seconds) / half_s))


def drift(generator: np.random.Generator, seconds: int) -> Shape:
    """Days and nights, while prompts and answers change their length (see `service`)."""
    return wave(generator, seconds, (0.1, 0.6))


def gaps(generator: np.random.Generator, seconds: int) -> Shape:
    """Days and nights with two to six times of 2 min to 2 h in which nothing comes, and then all at once again."""
    level = wave(generator, seconds, (0.1, 0.7))
    for _ in range(int(generator.integers(2, 7))):
        begin_s = int(generator.random() * seconds)
        level[begin_s : begin_s + int(octave(generator, 2 * MINUTE_S, 2 * HOUR_S))] = 0.0
    return level


FAMILIES: Final[dict[Family, Callable[[np.random.Generator, int], Shape]]] = {
    Family.DAILY: daily,
    Family.ON_OFF: on_off,
    Family.JUMP: jump,
    Family.BURSTS: bursts,
    Family.LAUNCH: launch,
    Family.DECAY: decay,
    Family.DRIFT: drift,
    Family.GAPS: gaps,
}
