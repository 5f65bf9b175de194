"""Times as the Kubernetes API writes them, RFC 3339 in UTC, and as the core counts them, seconds since 1970."""

from datetime import UTC, datetime


def seconds(text: str | None) -> float | None:
    """The seconds of a timestamp, None of one that is not there."""
    return None if not text else datetime.fromisoformat(text).timestamp()


def written(at_s: float) -> str:
    """A timestamp of whole seconds, as in conditions."""
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written_micro(at_s: float) -> str:
    """A timestamp with microseconds, as in Leases and Events."""
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
