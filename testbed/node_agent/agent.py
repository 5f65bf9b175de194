"""A node of its own with real processes on it, in a thread: list the pods, lead their lives, renew the lease.

kwok leaves nodes with the label alone (testbed/kwok.yaml). Pod addresses are of one block, all of it local in the
testbed's network, so a process that listens on its pod's address only is reached there and nowhere else.
"""

import contextlib
import http.client
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Final

from scaler.adapters.clock import SystemClock
from scaler.adapters.kubernetes.times import written, written_micro
from testbed.node_agent.pod_run import PodRun
from testbed.objects import gpu_node
from testbed.rest import RefusedError, Rest

LABEL: Final = "testbed.forebay.dev/node-agent"
BLOCK: Final = "10.244.200"
"""Above what kwok gives out, which counts from the lower end of the pods' range."""

LOOK_EVERY_S: Final = 0.2
RENEW_EVERY_S: Final = 10.0
LEASE_S: Final = 40
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
STOPS_WITHIN_S: Final = 60.0
PROBERS: Final = 16


class NodeAgent:
    """A node named ``name`` with ``gpus`` GPUs, whose pods are processes; their logs are in ``folder``."""

    def __init__(self, rest: Rest, name: str, folder: Path, *, gpus: int) -> None:
        self.name = name
        self._rest = rest
        self._folder = folder
        self._gpus = gpus
        self._clock = SystemClock()
        self._addresses = (f"{BLOCK}.{number % 250 + 2}" for number in count())
        self._runs: dict[str, PodRun] = {}
        self._renewed_at_s = 0.0
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Add the node and begin; the thread is in the network that this is called in."""
        self._folder.mkdir(parents=True, exist_ok=True)
        at_s = self._clock.now_s()
        self._rest.create("/api/v1/nodes", node(self.name, gpus=self._gpus, at_s=at_s))
        lease = {"holderIdentity": self.name, "leaseDurationSeconds": LEASE_S, "renewTime": written_micro(at_s)}
        self._rest.create(LEASES, {"metadata": {"name": self.name}, "spec": lease})
        self._thread.start()

    def stop(self) -> None:
        """End all processes at once and take the node away; raises what broke the agent, if anything did."""
        self._over.set()
        self._thread.join(STOPS_WITHIN_S)
        for path in (f"/api/v1/nodes/{self.name}", f"{LEASES}/{self.name}"):
            self._rest.delete(path)
        if self._failure is not None:
            raise self._failure

    def logs(self) -> str:
        """The end of each pod's log, for a failure's report."""
        found = sorted(self._folder.glob("*.log"))
        return "\n".join(f"--- {path.stem}\n{path.read_text(errors='replace')[-1500:]}" for path in found)

    def _run(self) -> None:
        """The thread. It alone starts processes, which end with it."""
        try:
            with ThreadPoolExecutor(PROBERS) as requests:
                while not self._over.wait(LOOK_EVERY_S):
                    with contextlib.suppress(OSError, http.client.HTTPException, RefusedError):
                        self._look(requests)
        except BaseException as error:  # noqa: BLE001 - a thread has nobody above it; `stop` raises it again
            self._failure = error
        finally:
            for run in self._runs.values():
                run.process.end()

    def _look(self, requests: ThreadPoolExecutor) -> None:
        self._renew()
        listed = self._rest.items("/api/v1/pods", fieldSelector=f"spec.nodeName={self.name}")
        pods: Mapping[str, Any] = {pod["metadata"]["uid"]: pod for pod in listed}
        for uid in self._runs.keys() - pods.keys():
            self._runs.pop(uid).process.end()  # it was deleted over our head
        for uid, pod in pods.items():
            if uid not in self._runs:
                self._runs[uid] = self._begun(pod, requests)
            self._runs[uid].pod = pod
        for run in self._runs.values():
            with contextlib.suppress(RefusedError):  # it is gone, or has changed: the next look knows more
                run.look(self._clock.now_s())

    def _begun(self, pod: Mapping[str, Any], requests: ThreadPoolExecutor) -> PodRun:
        address, at_s = next(self._addresses), self._clock.now_s()
        return PodRun(pod, address=address, folder=self._folder, rest=self._rest, requests=requests, at_s=at_s)

    def _renew(self) -> None:
        at_s = self._clock.now_s()
        if at_s - self._renewed_at_s >= RENEW_EVERY_S:
            self._rest.patch(f"{LEASES}/{self.name}", {"spec": {"renewTime": written_micro(at_s)}})
            self._renewed_at_s = at_s


def node(name: str, *, gpus: int, at_s: float) -> dict[str, Any]:
    """The node as a kubelet registers it, ready."""
    body = gpu_node(name, gpus=gpus)
    body["metadata"]["labels"][LABEL] = "true"
    times = {"lastHeartbeatTime": written(at_s), "lastTransitionTime": written(at_s)}
    body["status"]["conditions"] = [{"type": "Ready", "status": "True", "reason": "KubeletReady", **times}]
    return body


@contextlib.contextmanager
def running_node(rest: Rest, name: str, folder: Path, *, gpus: int) -> Iterator[NodeAgent]:
    """A node for the length of a ``with``, in this thread's network."""
    agent = NodeAgent(rest, name, folder, gpus=gpus)
    agent.start()
    try:
        yield agent
    finally:
        agent.stop()
