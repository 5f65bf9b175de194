"""What the orders of a pod's life come to on this machine: a process, its log, and requests to its address."""

import contextlib
import http.client
import os
import signal
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Final

from testbed.commands import Child
from testbed.node_agent.workload import Hook, Probe, Request, Workload

HOOK_REQUEST_S: Final = 60.0
"""How long a preStop request may take; the grace period usually ends it sooner."""


class PodProcess:
    """The one process of a pod; all that it starts belongs to its session, as to a container's control group."""

    def __init__(self, workload: Workload, address: str, log: Path, requests: Executor) -> None:
        self.log = log
        self._workload = workload
        self._address = address
        self._requests = requests
        self._child: Child | None = None
        self._hook: Child | Future[bool] | None = None

    def start(self) -> None:
        """Start it; the calling thread must outlive it."""
        self._child = Child(self._workload.command, self.log, environment=self._workload.environment)

    def exit_code(self) -> int | None:
        """How it ended, told once; None while it runs or where there is none. What it left behind is ended with it."""
        if self._child is None or (code := self._child.exit_code) is None:
            return None
        self._kill_group(self._child)
        self._child = None
        return code

    def probe(self, probe: Probe) -> Future[bool]:
        """Ask it; the answer is whether it is good."""
        return self._requests.submit(is_good, self._address, probe.request, probe.timeout_s)

    def run_hook(self, hook: Hook) -> None:
        """Begin a preStop that is a command or a request."""
        if hook.command is not None:
            self._hook = Child(hook.command, self.log, environment=self._workload.environment)
        elif hook.request is not None:
            self._hook = self._requests.submit(is_good, self._address, hook.request, HOOK_REQUEST_S)

    def has_ended_hook(self) -> bool:
        """Whether the preStop that was begun is over, well or not."""
        match self._hook:
            case Child() as child:
                return child.exit_code is not None
            case Future() as answer:
                return answer.done()
            case None:
                return False

    def terminate(self) -> None:
        """Ask it to end. As a container runtime does, this tells the first process only."""
        if self._child is not None:
            self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all of it at once."""
        for child in (self._child, self._hook):
            if isinstance(child, Child):
                self._kill_group(child)

    def end(self) -> None:
        """End all of it at once, and return when the first process is gone."""
        self.kill()
        for child in (self._child, self._hook):
            if isinstance(child, Child):
                child.kill()

    @staticmethod
    def _kill_group(child: Child) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def is_good(address: str, request: Request, within_s: float) -> bool:
    """Whether a GET is answered in time with a code from 200 to 399."""
    connection = http.client.HTTPConnection(address, request.port, timeout=within_s)
    try:
        connection.request("GET", request.path)
        return http.client.OK <= connection.getresponse().status < http.client.BAD_REQUEST
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
