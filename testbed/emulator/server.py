"""What an emulated vLLM server answers over HTTP, and the ports that it answers at.

Every pod with an engine has a listening socket of its own at its own address: at a pod that still loads, or is gone,
a connection is refused, as it is with the real one, which listens only when its model is loaded.
"""

import http
from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from testbed.emulator.meters import Sleep
from testbed.emulator.page import CONTENT_TYPE

PORT: Final = 8000


class Server(Protocol):
    """One replica, as its web server knows it."""

    @property
    def sleep(self) -> Sleep:
        """How deep its engine sleeps."""

    def page(self) -> str:
        """Its /metrics of now."""

    def set_sleep(self, sleep: Sleep) -> None:
        """Put its engine to sleep, or wake it."""


SERVER: Final = web.RequestKey("server", Server)
LEVELS: Final = {"1": Sleep.WEIGHTS_OFFLOADED, "2": Sleep.DISCARD_ALL}


class Doors:
    """The ports of all replicas. ``server_at`` finds the one that has an address; KeyError where none has."""

    def __init__(self, server_at: Callable[[str], Server]) -> None:
        self._server_at = server_at
        self._sites: dict[str, web.TCPSite] = {}
        application = web.Application(middlewares=[self._let_in])
        application.add_routes(
            [
                web.get("/metrics", metrics),
                web.get("/health", health),
                web.get("/is_sleeping", is_sleeping),
                web.post("/sleep", sleep),
                web.post("/wake_up", wake_up),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Get ready for `open`."""
        await self._runner.setup()

    async def stop(self) -> None:
        """Close all ports and connections."""
        await self._runner.cleanup()
        self._sites.clear()

    async def open(self, address: str) -> None:
        """Answer at this address from now on."""
        self._sites[address] = web.TCPSite(self._runner, address, PORT)
        await self._sites[address].start()

    async def close(self, address: str) -> None:
        """Refuse connections there from now on."""
        await self._sites.pop(address).stop()

    @web.middleware
    async def _let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Find whose address the caller has connected to.

        A connection that was kept open to a replica that is no more breaks, as at the end of a process.
        """
        transport = request.transport
        try:
            request[SERVER] = self._server_at(transport.get_extra_info("sockname")[0] if transport else "")
        except KeyError:
            if transport is not None:
                transport.abort()
            return web.Response(status=http.HTTPStatus.SERVICE_UNAVAILABLE)
        return await handler(request)


async def metrics(request: web.Request) -> web.Response:
    """The exposition."""
    return web.Response(body=request[SERVER].page().encode(), headers={"Content-Type": CONTENT_TYPE})


async def health(_: web.Request) -> web.Response:
    """Well, asleep or not, as vLLM has it."""
    return web.Response()


async def is_sleeping(request: web.Request) -> web.Response:
    """Whether the engine sleeps."""
    return web.json_response({"is_sleeping": request[SERVER].sleep is not Sleep.AWAKE})


async def sleep(request: web.Request) -> web.Response:
    """Put the engine to sleep."""
    level = LEVELS.get(request.query.get("level", "1"))
    if level is None:
        return web.Response(status=http.HTTPStatus.BAD_REQUEST, text="level must be 1 or 2")
    request[SERVER].set_sleep(level)
    return web.Response()


async def wake_up(request: web.Request) -> web.Response:
    """Wake the engine."""
    request[SERVER].set_sleep(Sleep.AWAKE)
    return web.Response()
