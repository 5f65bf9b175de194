"""A fake API server with many services in it, for benches of a whole process without a control plane."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.adapters.kubernetes import recorded
from tests.adapters.kubernetes.fake_api import FakeApi, serving, write_kubeconfig
from tests.api.builders import ONE_VERSION, tree
from tests.bench.polling import name_of

REPLICAS: Final = 10
NODES: Final = 100


def policy(name: str) -> dict[str, Any]:
    """A policy that wants what is there, whatever the demand."""
    metadata = {"name": name, "namespace": "models", "uid": f"uid-policy-{name}", "generation": 1}
    thing = tree(ONE_VERSION, spec__replicas={"min": REPLICAS, "max": REPLICAS}, spec__actuation="KEDA")
    thing["spec"]["versions"][0]["targets"][0]["targetRef"]["name"] = name
    return {**thing, "metadata": {**metadata, "creationTimestamp": recorded.CREATED}}


def owner(kind: str, uid: str) -> dict[str, Any]:
    """Metadata of what this owns."""
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": uid, "uid": uid, "controller": True}
    return {"ownerReferences": [reference]}


async def fill(api: FakeApi, policies: int) -> None:
    """So many services of ten replicas each."""
    for number in range(NODES):
        await api.put("nodes", recorded.node(f"gpu-{number}"))
    for number in range(policies):
        name = name_of(number)
        await api.put("scalingpolicies", policy(name))
        await api.put("deployments", recorded.deployment(name, REPLICAS))
        await api.put("replicasets", recorded.owned(f"{name}-rs", f"uid-{name}-rs", owner=f"uid-{name}"))
        for place in range(REPLICAS):
            pod = recorded.ready(f"{name}-{place}", spec={"nodeName": f"gpu-{number % NODES}"})
            pod["metadata"] |= owner("ReplicaSet", f"uid-{name}-rs")
            await api.put("pods", pod)


@contextmanager
def filled(path: Path, policies: int) -> Iterator[None]:
    """A fake API server, filled, in a thread of its own; ``path`` becomes the kubeconfig that leads to it."""
    loop, up, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        api = FakeApi(bookmark_every_s=60.0)
        await fill(api, policies)
        api.log.clear()
        async with serving(api) as address:
            write_kubeconfig(path, address)
            up.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert up.wait(60.0)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(30.0)
        loop.close()
