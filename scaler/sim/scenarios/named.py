"""All scenarios by name."""

from typing import Final

from scaler.sim.scenarios.beliefs import BELIEFS
from scaler.sim.scenarios.demands import DEMANDS
from scaler.sim.scenarios.faults import FAULTS

SCENARIOS: Final = {scenario.name: scenario for scenario in (*DEMANDS, *FAULTS, *BELIEFS)}
"""In the order in which they are listed."""
