"""Prometheus as the source of signals. It reads and explains what is missing; it never decides."""

from scaler.adapters.prometheus.server import Reads, Reason, Server
from scaler.adapters.prometheus.signals import Account, PrometheusSignals

__all__ = ["Account", "PrometheusSignals", "Reads", "Reason", "Server"]
