"""One policy and its Deployment as they are stored, and a cluster that follows them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import yaml

from scaler.adapters.kubernetes.cluster import KubernetesCluster, Model, Sight, cluster_of
from scaler.adapters.kubernetes.events import Events
from scaler.adapters.kubernetes.informer import Means
from scaler.adapters.kubernetes.reporting import Reporter
from scaler.core.model import Fleet, Missing, TargetKey
from tests.adapters.differences import merged
from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.conftest import Caller, running, until
from tests.adapters.kubernetes.fake_api import FakeApi
from tests.adapters.kubernetes.recorded import CREATED_S, Json, owned
from tests.api.builders import ONE_VERSION

AT_S = CREATED_S + 4 * 3600
V1 = TargetKey(version="v1", role="Serve")
SCALE = "/apis/apps/v1/namespaces/models/deployments/llama-v1/scale"


def policy(name: str = "llama", text: str = ONE_VERSION, **difference: Any) -> Json:
    thing: Json = yaml.safe_load(text)
    metadata = {"name": name, "uid": f"uid-policy-{name}", "generation": 3, "creationTimestamp": recorded.CREATED}
    return merged(merged(thing, {"metadata": metadata}), difference)


def replica_set(name: str = "llama-v1-7c9f", owner: str = "uid-llama-v1") -> Json:
    return owned(name, "uid-rs", owner=owner)


async def fill(api: FakeApi, *pods: Json, deployment: Json | None = None, **policy_difference: Any) -> None:
    await api.put("scalingpolicies", policy(**policy_difference))
    await api.put("deployments", deployment or recorded.deployment(replicas=len(pods)))
    await api.put("replicasets", replica_set())
    await api.put("nodes", recorded.node())
    for pod in pods:
        await api.put("pods", pod)


@asynccontextmanager
async def following(caller: Caller, means: Means) -> AsyncIterator[KubernetesCluster]:
    """A cluster that follows the objects of all namespaces."""
    events = Events(client=caller.client, log=means.log, instance="forebay-0")
    reporter = Reporter(client=caller.client, events=events, log=means.log)
    made = cluster_of(caller.client, means, (), reporter)
    async with running(made.run()):
        yield made


async def sight(cluster: KubernetesCluster) -> Sight:
    await until(lambda: cluster.unlisted is None, "all lists")
    return await cluster.look(AT_S)


async def model(cluster: KubernetesCluster) -> Model:
    (seen,) = (await sight(cluster)).models
    return seen


def fleet(seen: Model) -> Fleet | Missing:
    return seen.observation.fleet(V1)
