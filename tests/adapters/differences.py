"""An object of the API server with the difference that a test is about."""

from typing import Any

Json = dict[str, Any]


def merged(thing: Json, difference: Json) -> Json:
    """``thing`` with ``difference``, in which None takes a field away: a merge patch, RFC 7396."""
    for key, value in difference.items():
        if value is None:
            thing.pop(key, None)
        elif isinstance(value, dict) and isinstance(thing.get(key), dict):
            merged(thing[key], value)
        else:
            thing[key] = value
    return thing
