"""How fast the fleet model is; the figures are in docs/design/0003-fleet-model.md."""

from time import perf_counter

import pytest

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.trace import scaled, shipped
from tests.sim.traffic import plant_of

RPS_PER_REPLICA = 12.0


def requests_per_s(replicas: int, factor: float) -> float:
    """The best of three runs of the shipped hour, scaled so that each replica has its load."""
    trace = scaled(shipped(), factor, seed=1)
    times_s = []
    for _ in range(3):
        plant = plant_of(trace, LLAMA_8B_H100, replicas)
        begin_s = perf_counter()
        plant.advance(trace.duration_s + 600.0)
        times_s.append(perf_counter() - begin_s)
    return len(trace) / min(times_s)


@pytest.mark.bench
@pytest.mark.parametrize("replicas", [2, 8, 32])
def test_a_million_requests_a_second_on_one_core(replicas: int, capsys: pytest.CaptureFixture[str]) -> None:
    plant_of(shipped(), LLAMA_8B_H100).advance(1.0)  # compiled

    speed = requests_per_s(replicas, replicas * RPS_PER_REPLICA / 5.53)

    with capsys.disabled():
        print(f"\nplant, {replicas} replicas: {speed / 1e6:.2f} million requests a second")  # noqa: T201  # a bench prints
    assert speed >= 1e6
