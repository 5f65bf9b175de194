"""One pod on the node: its life led along, its orders carried out, its status told."""

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.node_agent import life
from testbed.node_agent.life import Act, Ask, Life, Order, Stage, Step
from testbed.node_agent.process import PodProcess
from testbed.node_agent.status import status_of
from testbed.node_agent.workload import Kind, Workload, workload_of
from testbed.rest import Patch, Rest


@dataclass(frozen=True, slots=True)
class Told:
    """What of a life shows in a status: a new one is written only when this has changed."""

    stage: Stage
    is_started: bool
    is_ready: bool
    restarts: int


class PodRun:
    """A pod that was bound to the node at ``at_s``. Raises NotRunnableError of one that this agent cannot run."""

    def __init__(
        self, pod: Mapping[str, Any], *, address: str, folder: Path, rest: Rest, requests: Executor, at_s: float
    ) -> None:
        self.pod = pod
        self.address = address
        self.workload: Workload = workload_of(pod, address)
        self.process = PodProcess(self.workload, address, folder / f"{pod['metadata']['name']}.log", requests)
        self.life: Life = life.born(at_s)
        self._rest = rest
        self._answers: dict[Kind, Future[bool]] = {}
        self._told: Told | None = None
        self._hook_ends_at_s: float | None = None

    def look(self, at_s: float) -> None:
        """Take in what has happened by ``at_s``, do what follows, and tell it. Raises RefusedError and OSError."""
        self._take_in(at_s)
        told = Told(self.life.stage, self.life.is_started, self.life.is_ready, self.life.restarts)
        if told != self._told:
            self._tell(at_s)
            self._told = told
        if self.life.stage is Stage.ENDED:
            self._rest.delete(self._path(), gracePeriodSeconds="0")

    def _take_in(self, at_s: float) -> None:
        if (code := self.process.exit_code()) is not None:
            self._answers.clear()
            self._go(life.ended(self.life, code, at_s), at_s)
        for kind in [kind for kind, answer in self._answers.items() if answer.done()]:
            is_good = self._answers.pop(kind).result()
            self._go(life.answered(self.workload, self.life, kind, at_s, is_good=is_good), at_s)
        if "deletionTimestamp" in self.pod["metadata"]:
            grace_s = float(self.pod["metadata"].get("deletionGracePeriodSeconds", self.workload.grace_s))
            self._go(life.asked_to_go(self.workload, self.life, grace_s, at_s), at_s)
        if self._hook_is_over(at_s):
            self._go(life.pre_stop_ended(self.life), at_s)
        self._go(life.passed(self.workload, self.life, at_s), at_s)

    def _go(self, step: Step, at_s: float) -> None:
        self.life, orders = step
        for order in orders:
            self._carry_out(order, at_s)

    def _carry_out(self, order: Order, at_s: float) -> None:
        match order:
            case Ask(kind):
                self._answers[kind] = self.process.probe(self.workload.probes[kind])
            case Act.START:
                self.process.start()
            case Act.PRE_STOP:
                self._begin_hook(at_s)
            case Act.TERMINATE:
                self.process.terminate()
            case Act.KILL:
                self.process.kill()
            case Act.DELETE:
                pass  # `look` goes on trying as long as the pod is there

    def _begin_hook(self, at_s: float) -> None:
        hook = self.workload.pre_stop
        if hook is not None and hook.sleep_s is not None:
            self._hook_ends_at_s = at_s + hook.sleep_s
        elif hook is not None:
            self.process.run_hook(hook)

    def _hook_is_over(self, at_s: float) -> bool:
        if self.life.stage is not Stage.IN_PRE_STOP:
            return False
        return self.process.has_ended_hook() if self._hook_ends_at_s is None else at_s >= self._hook_ends_at_s

    def _tell(self, at_s: float) -> None:
        status = status_of(self.pod, self.workload, self.life, self.address, at_s)
        self.pod = self._rest.patch(f"{self._path()}/status", {"status": status}, Patch.STRATEGIC)

    def _path(self) -> str:
        metadata = self.pod["metadata"]
        return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
