"""The paths of the API: where a resource is found, and what resource a path is of."""

from typing import Final
from urllib.parse import quote

CLUSTER_WIDE: Final = ""
"""The namespace of what is in none, and of all namespaces together in a list."""


def root_of(api_version: str) -> str:
    """The path of a group and version: "v1" is the core group's."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def path_to(api_version: str, plural: str, namespace: str = CLUSTER_WIDE, *names: str) -> str:
    """The path of a resource's list, of one object, or with further names of its subresource."""
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return "/".join([f"{root_of(api_version)}{place}/{plural}", *(quote(name, safe="") for name in names)])


def resource_of(path: str) -> str:
    """What a path is of, for counting: "deployments/scale", whatever the group, the namespace and the name."""
    parts = path.strip("/").split("/")
    at = 3 if parts[0] == "apis" else 2
    rest = parts[at:]
    if len(rest) > 2 and rest[0] == "namespaces":  # noqa: PLR2004 - namespaces, its name, and something in it
        rest = rest[2:]
    if not rest:
        return "discovery"
    resource, *names = rest
    return "/".join([resource, *names[1:]])
