"""The embedded cluster behind the loop's ports."""

import pytest

from scaler.core.plan import SetReplicas, SetWeights
from scaler.embedded.cluster import EmbeddedCluster
from scaler.runtime.ports import Actuator, Observer, TransientError
from tests.builders import NAME, key, policy
from tests.sim.clusters import cluster, service, target


def embedded() -> EmbeddedCluster:
    split = service(target("v1"), target("v2", replicas=0), weights={"v1": 100, "v2": 0})
    return EmbeddedCluster(cluster=cluster(split), policies=(policy(),))


async def test_it_is_an_observer_and_an_actuator() -> None:
    world = embedded()
    observer: Observer = world
    actuator: Actuator = world

    seen = await observer.observe(30.0)
    await actuator.act(policy(), ())

    assert seen.policies == (policy(),)
    assert seen.snapshot.at_s == 30.0
    assert list(seen.snapshot.models) == [NAME]


async def test_to_look_lets_time_pass() -> None:
    world = embedded()
    await world.act(policy(), [SetReplicas(key=key("v2"), replicas=1)])

    before = (await world.observe(1.0)).snapshot.models[NAME].fleet(key("v2"))
    after = (await world.observe(500.0)).snapshot.models[NAME].fleet(key("v2"))

    assert [len(fleet.ready()) for fleet in (before, after)] == [0, 1]  # type: ignore[union-attr]


async def test_commands_are_absolute() -> None:
    world = embedded()

    for _ in range(2):
        await world.act(policy(), [SetReplicas(key=key("v1"), replicas=3)])

    fleet = (await world.observe(10.0)).snapshot.models[NAME].fleet(key("v1"))
    assert len(fleet.replicas) == 3  # type: ignore[union-attr]


async def test_weights_are_set_all_at_once() -> None:
    world = embedded()

    await world.act(policy(), [SetWeights(weights={"v1": 95, "v2": 5})])

    assert (await world.observe(1.0)).snapshot.models[NAME].weights == {"v1": 95, "v2": 5}


async def test_what_is_not_there_stops_the_list_with_one_sentence() -> None:
    world = embedded()
    orders = [SetReplicas(key=key("v9"), replicas=3), SetReplicas(key=key("v1"), replicas=3)]

    with pytest.raises(TransientError, match=r"^models/llama: there is no target v9 to scale$"):
        await world.act(policy(), orders)
    with pytest.raises(TransientError, match=r"^models/llama: the route has no backend for v9$"):
        await world.act(policy(), [SetWeights(weights={"v9": 100})])

    fleet = (await world.observe(1.0)).snapshot.models[NAME].fleet(key("v1"))
    assert fleet.requested == 1  # type: ignore[union-attr]
