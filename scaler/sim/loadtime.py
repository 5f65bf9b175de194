"""How long a replica takes to serve: drawn once for each pod, by phase, the same on every machine."""

import math
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

SPREAD: Final = math.sqrt(math.log(1.0 + 0.15**2))  # of a log-normal with a coefficient of variation of 0.15
SLOW_SHARE: Final = 0.05
SLOW_FACTOR: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTimes:
    """Medians of a target's starts.

    ``median_s`` is from a node with the image to ready, ``initialising_share`` the part of it before the weights are
    read, and ``pull_s`` what pulling the image takes on a node that has none.
    """

    median_s: float
    pull_s: float = 0.0
    initialising_share: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start by phase, in seconds to the millisecond."""

    pulling_s: float
    initialising_s: float
    loading_s: float


def drawn(times: LoadTimes, *, has_image: bool, factor: float, stream: tuple[int, ...]) -> Start:
    """The start that ``stream`` (seed, target, pod, restart) stands for.

    Log-normal around the median with a coefficient of variation of 0.15, and one in twenty takes twice as long
    (reference/loadtimes.md, 3). Rounded to the millisecond, so that the last bit of exp on another machine is not
    seen; drawn from a stream of its own, so that what happened to other pods does not matter.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(stream)))
    load_factor = math.exp(SPREAD * float(generator.standard_normal()))
    pull_factor = math.exp(SPREAD * float(generator.standard_normal()))
    slow = SLOW_FACTOR if generator.random() < SLOW_SHARE else 1.0
    load_s = times.median_s * load_factor * slow * factor
    return Start(
        pulling_s=0.0 if has_image else round(times.pull_s * pull_factor * factor, 3),
        initialising_s=round(load_s * times.initialising_share, 3),
        loading_s=round(load_s * (1.0 - times.initialising_share), 3),
    )


def word(text: str) -> int:
    """A number for ``text`` in a stream, the same everywhere."""
    return zlib.crc32(text.encode())
