"""A scenario: its name, why it is hard, what it is played on, and what must hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scaler.sim.scenarios.measures import Must, turns_per_hour
from scaler.sim.scenarios.setting import Setting

TURNS_MOST: Final = 2.0

FEW_TURNS: Final = Must(claim="turns of the count, by the hour", measure=turns_per_hour, most=TURNS_MOST, form=".2f")
"""The bar of every scenario."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One hard case. ``setting`` makes it, ``told_at_s`` are the times whose decisions are told in full."""

    name: str
    about: str
    why: str
    setting: Callable[[], Setting]
    musts: tuple[Must, ...]
    told_at_s: tuple[float, ...]
