"""Signals that are gone, wrong or old: nothing shrinks, the condition says why, and it ends when they are back."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from testbed.control_plane import ControlPlane
from testbed.emulator.arrivals import steady
from testbed.emulator.emulator import Emulator
from testbed.emulator.faults import Fault
from testbed.emulator.scrape import scrape_configuration
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import MODEL, Controller, Start, World, add_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROMETHEUS = "Prometheus at http://127.0.0.1:9090"
REPLICAS = 4
RPS = 90.0
"""Enough for the four replicas that are allowed; half of it is for two or three."""

NEVER_S = 86_400
OUTAGE_S = 300.0
HANGING_S = 40.0
"""More than twice the policy's staleSeconds of 15 s, and 20 ticks that each meet a query without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What happens to the signals, what ends it, and what the condition should say of it."""

    begin: Callable[[], object]
    end: Callable[[], object]
    told: tuple[str, ...]
    lasts_s: float = 6.0


def fault_of_pages(emulator: Emulator, pods: list[str], fault: Fault, *told: str) -> Trouble:
    return Trouble(begin=lambda: emulator.set_fault(pods, fault), end=lambda: emulator.set_fault(pods, None), told=told)


def prometheus_is_gone(cluster: ControlPlane) -> Trouble:
    return Trouble(
        begin=lambda: cluster.kill_part("prometheus"),
        end=lambda: cluster.start_part("prometheus"),
        told=("4 of 4 ready replicas of v1 cannot be read", f"{PROMETHEUS} did not answer: connection refused"),
        lasts_s=OUTAGE_S,
    )


def prometheus_hangs(cluster: ControlPlane) -> Trouble:
    """It takes connections, as the kernel does in its place, and never answers."""
    return Trouble(
        begin=lambda: cluster.signal_part("prometheus", signal.SIGSTOP),
        end=lambda: cluster.signal_part("prometheus", signal.SIGCONT),
        told=("4 of 4 ready replicas of v1 cannot be read", f"{PROMETHEUS} did not answer within 1.5 s"),
        lasts_s=HANGING_S,
    )


def half_of_the_series_are_gone(emulator: Emulator) -> Trouble:
    half = sorted(emulator.readings())[: REPLICAS // 2]
    series = (f'model_name="{MODEL}"}}', "other pods of this model have one")
    return fault_of_pages(emulator, half, Fault.EMPTY, "2 of 4 ready replicas of v1 cannot be read", *series)


def values_are_no_numbers(emulator: Emulator) -> Trouble:
    return fault_of_pages(emulator, list(emulator.readings()), Fault.NAN, f'model_name="{MODEL}"}} is nan')


def samples_become_old(cluster: ControlPlane, namespace: str) -> Trouble:
    def scrape(every_s: int) -> None:
        cluster.kill_part("prometheus")
        cluster.start_prometheus(scrape_configuration(cluster.kubeconfig, every_s=every_s, namespace=namespace))

    return Trouble(begin=lambda: scrape(NEVER_S), end=lambda: scrape(1), told=("s old, the limit is 15 s",))


def the_model_name_is_wrong(world: World) -> Trouble:
    return Trouble(
        begin=lambda: world.change_policy(signals={"modelName": "llama-3.1-8b-instruct"}),
        end=lambda: world.change_policy(signals={"modelName": MODEL}),
        told=(
            f'namespace="{world.tenant.namespace}", pod="llama-',
            f'model_name="llama-3.1-8b-instruct"}}; there is model_name="{MODEL}";',
        ),
    )


@pytest.mark.usefixtures("scraped")
def test_nothing_shrinks_on_broken_signals_and_each_is_told_until_it_ends(
    tenant: Tenant, world: World, emulator: Emulator, cluster: ControlPlane, start: Start
) -> None:
    controller = with_demand_for_all(tenant, world, emulator, start)
    troubles = (
        the_model_name_is_wrong(world),
        half_of_the_series_are_gone(emulator),
        prometheus_is_gone(cluster),
        prometheus_hangs(cluster),
        samples_become_old(cluster, tenant.namespace),
        values_are_no_numbers(emulator),
    )

    for trouble in troubles:
        held_through(trouble, world, controller)

    assert world.requested() == REPLICAS
    assert controller.writes_of_scale() == 0
    assert controller.exit_code is None


def with_demand_for_all(tenant: Tenant, world: World, emulator: Emulator, start: Start) -> Controller:
    """A controller that reads all the replicas there may be, none of which is new, and knows that all are needed."""
    tenant.add_nodes(1)
    add_servers(tenant, REPLICAS, load_s=0)
    tenant.wait_for_ready(REPLICAS)
    emulator.set_rate("llama", steady(RPS))
    world.add_policy(replicas={"min": 1, "max": REPLICAS})
    controller = start()
    world.wait_for_condition("SignalsHealthy", "True")
    controller.wait_until_it_has_learned()
    return controller


def held_through(trouble: Trouble, world: World, controller: Controller) -> None:
    """Let the trouble come and go; meanwhile no decision is for less than there is, nor even begins with less."""
    before = len(controller.trails())
    trouble.begin()
    wait_for(
        "the condition to say what it is",  # a Prometheus that starts again is away first, and two pods go one by one
        lambda: world.condition("SignalsHealthy"),
        lambda told: told["status"] == "False" and all(words in told["message"] for words in trouble.told),
        within_s=90.0,
    )
    wait_for(
        "an outage so long",
        lambda: blind_for_s(controller),
        lambda so_far_s: so_far_s >= trouble.lasts_s,
        within_s=trouble.lasts_s + 90.0,
    )
    assert controller.page("/healthz") == "ok\n"
    trouble.end()
    world.wait_for_condition("SignalsHealthy", "True", within_s=100.0)
    meanwhile = controller.trails()[before:]
    # The first decision that sees again has a rate of a second or two, by which three may do; nothing goes for that.
    assert min(trail[0]["after"] for trail in meanwhile if trail[0]["rule"] == "keep") >= REPLICAS
    assert {trail[-1]["after"] for trail in meanwhile} == {REPLICAS}


def blind_for_s(controller: Controller) -> float:
    """How long the demand has not been known, by the last decisions."""
    plans = [plan for record in controller.records() if (plan := record["plan"])["targets"]]
    known = [plan for plan in plans if plan["targets"][0]["trail"][0]["rule"] != "keep"]
    return float(plans[-1]["at_s"] - known[-1]["at_s"])
