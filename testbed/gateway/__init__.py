"""Traefik as the data plane of the Gateway API."""
