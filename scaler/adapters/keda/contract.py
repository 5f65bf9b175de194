"""What a ScaledObject's trigger and our answers agree on, for whoever writes a ScaledObject, reads one or answers."""

from typing import Final

SERVICE: Final = "externalscaler.ExternalScaler"
"""The gRPC service; its package and name are part of KEDA's wire contract."""

POLICY: Final = "policy"
"""Trigger metadata: the ScalingPolicy's name. Its namespace is the ScaledObject's own."""

VERSION: Final = "version"
"""Trigger metadata: the version of the policy whose replicas are meant."""

ROLE: Final = "role"
"""Trigger metadata: the role in that version; without it, Serve."""

METRIC_NAME: Final = "forebay-replicas"
"""The one metric we have. KEDA puts a prefix before it for the HPA; capitals would be lost on the way."""

METRIC_TYPE: Final = "AverageValue"
"""The HPA then takes the value as a count; with Value it multiplies by the ready pods, and loading ones cancel out."""

TARGET_SIZE: Final = 1
"""The value divided by it is the count; with 1, the value is the replicas that are wanted."""
