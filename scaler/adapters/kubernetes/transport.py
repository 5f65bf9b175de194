"""Connections to the API server: where it is, who we are and whom we trust, by the official client's configuration.

Nothing of that client but its configuration, authentication and transport is used, and nothing of it leaves here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from scaler.adapters.kubernetes.errors import AccessError
from scaler.runtime.ports import TransientError

JSON: Final = "application/json"
USER_AGENT: Final = "forebay"
UNLIMITED: Final = aiohttp.ClientTimeout(total=None)
"""The deadlines are the client's; the transport's own would end a watch after five minutes."""

Configure = Callable[[Configuration], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. ``verb`` is Kubernetes' word for it (get, list, watch, patch), ``method`` HTTP's."""

    verb: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = JSON

    @property
    def is_write(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"

    def url(self, host: str) -> str:
        """Its full address."""
        return f"{host}{self.path}?{urlencode(self.query)}" if self.query else f"{host}{self.path}"


class Transport:
    """Sends requests as whoever the configuration says; reads the configuration again when it was refused.

    Tokens are read anew by the configuration itself (within a minute in a cluster). Certificates are read when a
    connection is set up for the first time, so after a refusal of either side's certificate all is read anew.
    """

    def __init__(self, configure: Configure) -> None:
        self._configure = configure
        self._rest: RESTClientObject | None = None
        self._retired: RESTClientObject | None = None
        self._setting_up = asyncio.Lock()

    async def connect(self) -> None:
        """Read the configuration. Raises AccessError when there is none that can be used."""
        await self._ready()

    async def send(self, request: Request) -> aiohttp.ClientResponse:
        """The answer's head; its body is still to be read, and the response to be closed. It sets no deadline."""
        with spoken(request.path):
            try:
                rest = await self._ready()
                headers = await _authorization(rest.configuration)
            except (AccessError, ConfigException) as error:
                raise TransientError(f"the credentials cannot be read: {error}") from error
            try:
                response = await _sent(rest, request, headers)
            except aiohttp.ClientSSLError:
                await self._retire(rest)
                raise
        if response.status == HTTPStatus.UNAUTHORIZED:
            await self._retire(rest)
        return response

    async def close(self) -> None:
        """Close all connections."""
        for rest in (self._rest, self._retired):
            if rest is not None:
                await rest.close()
        self._rest = self._retired = None

    async def _retire(self, rest: RESTClientObject) -> None:
        """Set up anew before the next request. What was under way on the old connections may end there."""
        if self._rest is not rest:
            return
        outlived, self._retired, self._rest = self._retired, rest, None
        if outlived is not None:
            await outlived.close()

    async def _ready(self) -> RESTClientObject:
        async with self._setting_up:
            if self._rest is None:
                configuration: Configuration = _plain_configuration()
                try:
                    await self._configure(configuration)
                    self._rest = RESTClientObject(configuration)
                except yaml.YAMLError as error:
                    # Its own words may quote the file, and the file has secrets.
                    raise AccessError("the Kubernetes configuration cannot be used: it is no YAML") from error
                except (ConfigException, OSError, KeyError, TypeError, ValueError) as error:
                    raise AccessError(f"the Kubernetes configuration cannot be used: {error}") from error
            return self._rest


def _plain_configuration() -> Configuration:
    configuration = Configuration()
    configuration.retries = None  # the informers and the loop repeat; nothing is repeated behind their backs
    return configuration


async def _sent(rest: RESTClientObject, request: Request, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
    answer = await rest.request(  # type: ignore[no-untyped-call]  # the client's own code has no types
        request.method,
        request.url(rest.configuration.host),
        headers={"User-Agent": USER_AGENT, "Accept": JSON, "Content-Type": request.content_type, **headers},
        body=request.body,
        _request_timeout=UNLIMITED,
    )
    response: aiohttp.ClientResponse = answer.response
    return response


async def _authorization(configuration: Configuration) -> dict[str, str]:
    """The header that says who we are; empty where a client certificate does."""
    settings: Mapping[str, Any] = await configuration.auth_settings()
    token = settings.get("BearerToken")
    return {} if token is None else {"Authorization": str(token["value"]).strip()}


@contextlib.contextmanager
def spoken(path: str) -> Iterator[None]:
    """What goes wrong on the way to the API server and back, as a TransientError."""
    try:
        yield
    except TimeoutError as error:
        raise TransientError(f"{path}: the API server did not answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise TransientError(
            f"{path}: the API server cannot be reached: {str(error) or type(error).__name__}"
        ) from error


def from_kubeconfig(path: Path | None = None, context: str | None = None) -> Transport:
    """As a kubeconfig says, the one that kubectl would take unless told otherwise."""

    async def configure(configuration: Configuration) -> None:
        file = None if path is None else str(path)
        await load_kube_config(  # type: ignore[no-untyped-call]  # the client's own code has no types
            config_file=file, context=context, client_configuration=configuration, persist_config=False
        )

    return Transport(configure)


def in_cluster() -> Transport:
    """As the service account of the pod that this runs in."""

    async def configure(configuration: Configuration) -> None:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # as above

    return Transport(configure)
