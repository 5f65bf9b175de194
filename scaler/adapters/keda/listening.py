"""The gRPC server that KEDA connects to: where it listens, whom it believes, and how its connections end."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from scaler.adapters.keda.certificates import Certificates
from scaler.adapters.keda.contract import SERVICE
from scaler.adapters.keda.external_scaler_pb2_grpc import add_ExternalScalerServicer_to_server
from scaler.adapters.keda.line import Address
from scaler.adapters.keda.service import ExternalScaler

MESSAGE_MOST_BYTES: Final = 64 * 1024
"""A trigger's metadata in full is some hundred bytes."""

STOPS_WITHIN_S: Final = 1.0
"""Calls under way get so long to end; all of ours answer at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """A server that answers at ``port``."""

    server: grpc.aio.Server
    scaler: ExternalScaler
    health: Any
    port: int

    async def close(self) -> None:
        """Take no more calls, end all streams with OK, and return when all calls have ended."""
        await self.health.enter_graceful_shutdown()
        # In this order: a stream that has ended must not find the server open again.
        await asyncio.gather(self.server.stop(STOPS_WITHIN_S), self._end_streams())

    async def _end_streams(self) -> None:
        self.scaler.close()


async def listen(scaler: ExternalScaler, at: Address, certificates: Certificates | None) -> Listening:
    """Serve ``scaler``, with health checks and reflection; without ``certificates`` in plaintext. Raises OSError."""
    server = grpc.aio.server(options=_options(at))
    checks: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]  # its stubs leave the module out
    add_ExternalScalerServicer_to_server(scaler, server)
    add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = _bound(server, at, certificates)
    for name in ("", SERVICE):
        await checks.set(name, HealthCheckResponse.SERVING)
    await server.start()
    return Listening(server=server, scaler=scaler, health=checks, port=port)


def _options(at: Address) -> list[tuple[str, int]]:
    age_ms = round(1000.0 * at.connection_s)
    return [
        ("grpc.max_connection_age_ms", age_ms),
        ("grpc.max_connection_age_grace_ms", age_ms),
        ("grpc.max_receive_message_length", MESSAGE_MOST_BYTES),
        # Otherwise a second process could take the same port, and get half of the calls.
        ("grpc.so_reuseport", 0),
    ]


def _bound(server: grpc.aio.Server, at: Address, certificates: Certificates | None) -> int:
    address = f"{at.host}:{at.port}"
    try:
        if certificates is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, certificates.credentials())
    except RuntimeError as error:
        raise OSError(f"{address} cannot be listened on ({error})") from error
