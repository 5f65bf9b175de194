"""KEDA's questions, answered by every replica from what the policies' statuses and the Lease say."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from structlog.typing import FilteringBoundLogger

from scaler.adapters.clock import SteadyClock
from scaler.adapters.keda.answers import Known
from scaler.adapters.keda.apart import Apart
from scaler.adapters.keda.certificates import CertificateError, CertificateFiles, Certificates
from scaler.adapters.keda.listening import Address, Listening, listen
from scaler.adapters.keda.service import ExternalScaler
from scaler.adapters.kubernetes.cluster import KubernetesCluster
from scaler.adapters.kubernetes.election import Elector
from scaler.adapters.kubernetes.policies import PolicyObject
from scaler.adapters.kubernetes.standing import standing_of
from scaler.adapters.kubernetes.store import Key, Store
from scaler.adapters.kubernetes.views import PATIENCE_S
from scaler.adapters.telemetry import Telemetry
from scaler.core.model import Actuation, Missing
from scaler.runtime.board import Standing, Standings
from scaler.settings import Settings
from scaler.wiring.errors import UserError

FRESH_TICKS: Final = 4
FRESH_LEASES: Final = 2
"""Plans count for so many ticks without a heartbeat, as the loop's health check bears, and on top of that for a change
of leaders: one lease to run out, and another for the first tick of the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Keeps the standings as the policies are stored."""

    standings: Standings
    advises_only: bool

    def changed(self, key: Key, policy: PolicyObject | None) -> None:
        """The policy at ``key`` is now this one; None: there is none any more."""
        standing = None if policy is None else self._as_allowed(standing_of(policy))
        self.standings.put("/".join(key), standing)

    def _as_allowed(self, standing: Standing | Missing) -> Standing | Missing:
        if isinstance(standing, Missing) or not self.advises_only:
            return standing
        return replace(standing, actuation=Actuation.ADVISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """A server that answers KEDA at ``port``, in a thread of its own."""

    apart: Apart
    listening: Listening
    policies: Store[PolicyObject]

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.listening.port

    async def close(self) -> None:
        """End all streams with OK, and then the thread."""
        self.policies.changed = None
        await self.apart.run(self.listening.close())
        await self.apart.close()


async def answering(
    settings: Settings, cluster: KubernetesCluster, elector: Elector, telemetry: Telemetry, log: FilteringBoundLogger
) -> Answering | None:
    """A server that answers KEDA from now on, None where no port was given for it. Raises UserError."""
    if settings.keda_listen_on is None:
        return None
    certificates = _certificates(settings, log)
    at = Address(
        host=settings.keda_listen_address, port=settings.keda_listen_on, connection_s=settings.keda_connection_seconds
    )
    apart, policies = Apart(), cluster.views.policies.store
    standings = Standings()
    follower = Follower(standings=standings, advises_only=settings.advise_only)
    policies.changed = partial(apart.soon, follower.changed)
    scaler = ExternalScaler(
        known=_known(settings, standings, cluster, elector),
        counted=telemetry.answered,
        clock=SteadyClock(),
        chance=np.random.default_rng(),
        stream_s=at.stream_s,
    )
    try:
        listening = await apart.run(listen(scaler, at, certificates))
    except OSError as error:
        await apart.close()
        raise UserError(f"--keda-listen-on {settings.keda_listen_on}: {error}") from error
    log.info("answering_keda", port=listening.port, transport=_transport(settings))
    return Answering(apart=apart, listening=listening, policies=policies)


def _known(settings: Settings, standings: Standings, cluster: KubernetesCluster, elector: Elector) -> Known:
    """What is asked of cluster and elector from the other thread is read off single fields, which are whole values."""
    policies, clock = cluster.views.policies, cluster.views.means.clock
    fresh_s = FRESH_TICKS * settings.tick_seconds + FRESH_LEASES * settings.lease_seconds
    return Known(
        standings=standings,
        unfollowed=lambda: policies.lost(clock.now_s(), PATIENCE_S),
        fresh_as_of=lambda: elector.fresh_as_of(fresh_s),
    )


def _certificates(settings: Settings, log: FilteringBoundLogger) -> Certificates | None:
    certificate, key = settings.keda_certificate_file, settings.keda_key_file
    if certificate is None or key is None:
        return None
    files = CertificateFiles(certificate=certificate, key=key, client_ca=settings.keda_client_ca_file)
    try:
        return Certificates(files=files, log=log)
    except CertificateError as error:
        raise UserError(f"--keda-certificate-file: {error}") from error


def _transport(settings: Settings) -> str:
    if settings.keda_certificate_file is None:
        return "plaintext"
    return "TLS" if settings.keda_client_ca_file is None else "mutual TLS"
