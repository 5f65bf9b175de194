"""All scenarios by name."""

from typing import Final

from scaler.sim.scenarios.beliefs import BELIEFS
from scaler.sim.scenarios.demands import DEMANDS
from scaler.sim.scenarios.faults import FAULTS
from scaler.sim.scenarios.sharing import SHARED

SCENARIOS: Final = {scenario.name: scenario for scenario in (*DEMANDS, *FAULTS, *SHARED, *BELIEFS)}
"""In the order in which they are listed."""
