"""The part of a ScalingPolicy that only KEDA needs: where it finds us, how safely, and who writes the ScaledObjects."""

from enum import Enum
from typing import Annotated, Final

from pydantic import Field

from scaler.api.fields import DnsName, HostAndPort
from scaler.api.rules import Spec

SCALER_ADDRESS: Final = "forebay-scaler.forebay.svc:9443"
"""The headless Service of deploy/base: KEDA spreads its calls over the addresses that it resolves to."""


class AuthenticationKind(Enum):
    """Where KEDA reads certificates from."""

    TRIGGER_AUTHENTICATION = "TriggerAuthentication"
    CLUSTER_TRIGGER_AUTHENTICATION = "ClusterTriggerAuthentication"


class AuthenticationRef(Spec):
    """The object that holds the certificates; a TriggerAuthentication is in the policy's namespace."""

    kind: AuthenticationKind = AuthenticationKind.TRIGGER_AUTHENTICATION
    """TriggerAuthentication or ClusterTriggerAuthentication."""
    name: DnsName
    """Its name."""


class KedaTls(Spec):
    """How KEDA knows us, and we know KEDA."""

    authentication_ref: AuthenticationRef | None = None
    """The authority that signs our certificate, and KEDA's own; left out, KEDA trusts the authorities that it knows."""


class Keda(Spec):
    """What a ScaledObject says beside what follows from the policy."""

    managed: Annotated[bool, Field(strict=True)] = False
    """Whether the controller writes and owns the ScaledObjects; otherwise `forebay keda` prints them."""
    scaler_address: HostAndPort = SCALER_ADDRESS
    """Where KEDA finds our service, as host:port; a headless Service, or it stays with one replica of ours."""
    tls: KedaTls | None = None
    """Given, even empty, the connection is encrypted."""
    polling_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 60
    """How often KEDA asks by itself; the HPA asks every 15 s besides."""
