"""The fleet emulator as one thing that is started and stopped, and told what traffic there is."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar

from scaler.sim.latency import LLAMA_8B_H100
from scaler.sim.plant import Plant, Reading
from scaler.sim.trace import shipped
from testbed.emulator.arrivals import Rate
from testbed.emulator.emulation import Emulation, Timeline
from testbed.emulator.faults import Fault
from testbed.emulator.fleet import Service, Sight
from testbed.emulator.pods import PodWatch

Answer = TypeVar("Answer")

LOOK_S: Final = 0.25
"""How often fleets are brought up to the time even when nobody asks."""

WITHIN_S: Final = 60.0
"""How long any one thing that is asked of it may take."""


class Emulator:
    """Answers for the emulated pods of one namespace, or of all with ``namespace`` "".

    It runs in a thread of its own, in the network that `start` is called in. A second of the model's lasts 1/``speed``
    of the wall's; pods load and drain on the wall's clock, whatever the speed.
    """

    def __init__(
        self, services: Iterable[Service], *, kubeconfig: Path, namespace: str = "", speed: float = 1.0, seed: int = 0
    ) -> None:
        self._services = tuple(services)
        self._watch = PodWatch(kubeconfig, namespace)
        self._speed = speed
        self._seed = seed
        self._thread = threading.Thread(target=self._run, name="emulator", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._up: Future[Emulation] = Future()
        self._ended: Future[None] = Future()

    def start(self) -> None:
        """Start it; it has seen the pods when this returns."""
        self._thread.start()
        self._up.result(WITHIN_S)

    def stop(self) -> None:
        """Close all ports, and return when its thread has ended; raises what broke it, if anything did."""
        if not self._ended.done():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._ended.result(WITHIN_S)
        self._thread.join(WITHIN_S)

    def set_rate(self, service: str, rate: Rate) -> None:
        """Let the service's Poisson traffic come at another rate: ``set_rate("llama", steady(20))``."""
        self._ask(lambda emulation: emulation.fleets[service].set_rate(rate))

    def set_weights(self, service: str, percents: Mapping[str, int]) -> None:
        """Split the service's traffic between its versions."""
        self._ask(lambda emulation: emulation.fleets[service].set_weights(percents))

    def set_fault(self, pods: Iterable[str], fault: Fault | None) -> None:
        """Let the pages of these pods ("namespace/name", as in `readings`) be wrong from now on, or right again."""
        self._ask(lambda emulation: emulation.set_fault(tuple(pods), fault))

    def sight(self, service: str) -> Sight:
        """What the service's fleet is at this moment, from the model and not from any metric."""
        return self._ask(lambda emulation: emulation.sight(service))

    def readings(self) -> Mapping[str, Reading]:
        """What every engine is doing at this moment, by its pod's "namespace/name"."""
        return self._ask(lambda emulation: emulation.readings())

    def _ask(self, question: Callable[[Emulation], Answer]) -> Answer:
        """The answer from the emulator's thread, which alone touches its state."""

        async def asked() -> Answer:
            return question(self._up.result(0))

        if self._ended.done():
            self._ended.result()
            raise RuntimeError("the emulator has been stopped")
        return asyncio.run_coroutine_threadsafe(asked(), self._loop).result(WITHIN_S)

    def _run(self) -> None:
        """The thread: a failure goes to whoever asks next."""
        try:
            compile_the_model()
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - a thread has nobody above it; `stop` raises it again
            for future in (self._up, self._ended):
                if not future.done():
                    future.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        timeline = Timeline(self._speed)
        emulation = Emulation(self._services, timeline, seed=self._seed)
        await emulation.doors.start()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._follow(emulation)), group.create_task(self._keep_time(emulation))]
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await emulation.doors.stop()

    async def _follow(self, emulation: Emulation) -> None:
        async for pods in self._watch.follow(self._pause):
            await emulation.settle(pods)
            if not self._up.done():
                self._up.set_result(emulation)

    async def _keep_time(self, emulation: Emulation) -> None:
        while not self._stop.is_set():
            emulation.advance()
            await self._pause(LOOK_S)

    async def _pause(self, for_s: float) -> None:
        """Let time pass, but not beyond the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await self._stop.wait()


def compile_the_model() -> None:
    """Have the fleet model's machine code made or loaded, which takes seconds, before there is anything to miss."""
    plant = Plant(shipped(), seed=0, holds=True)
    plant.open(plant.add(LLAMA_8B_H100))
    plant.advance(1.0)
    plant.readings()


@contextlib.contextmanager
def emulating(
    services: Iterable[Service], *, kubeconfig: Path, namespace: str, speed: float = 1.0
) -> Iterator[Emulator]:
    """An emulator for the length of a ``with``, in this thread's network."""
    emulator = Emulator(services, kubeconfig=kubeconfig, namespace=namespace, speed=speed)
    try:
        emulator.start()
        yield emulator
    finally:
        emulator.stop()
