"""How the API server says no, as few exceptions of ours.

What may heal by itself is a TransientError of the runtime; the rest says what was refused, in the server's own words.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from scaler.runtime.ports import TransientError

RETRY_AFTER_S: Final = 1.0
"""How long to stay away from a server that is too busy and does not say for how long."""

RETRY_AFTER_MOST_S: Final = 60.0
"""A longer absence than this is cut short: nobody should be able to silence us for a day by one header."""


class AccessError(Exception):
    """The configuration does not say where the API server is or who we are; the text says what is wrong with it."""


class RefusedError(Exception):
    """The API server understood and refused; asking again gives the same answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class NotFoundError(RefusedError):
    """There is no such object, or no such kind of object."""


class ConflictError(TransientError):
    """The object is not as we took it to be: someone wrote it meanwhile, or it is there already."""


class GoneError(TransientError):
    """The version that a watch or a list was to go on from is too old; only a new list helps."""


class NotLeadingError(TransientError):
    """A write was held back, because this process may not write now."""


class BusyError(TransientError):
    """The API server asks to stay away for ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


MEANINGS: Final[Mapping[int, type[TransientError]]] = {
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: GoneError,
    # A token that has run out is read anew before the next request.
    HTTPStatus.UNAUTHORIZED: TransientError,
    HTTPStatus.REQUEST_TIMEOUT: TransientError,
}
"""The answers below 500 that may heal."""


def refusal(status: int, body: bytes, retry_after: str | None) -> Exception:
    """The exception for an answer that is none."""
    message = sentence(status, body)
    said = f"the API server answered {status}: {message}"
    if status in MEANINGS:
        return MEANINGS[status](said)
    seconds = _seconds(retry_after)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and seconds is not None):
        return BusyError(said, RETRY_AFTER_S if seconds is None else seconds)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientError(said)
    return NotFoundError(status, message) if status == HTTPStatus.NOT_FOUND else RefusedError(status, message)


def sentence(status: int, body: bytes) -> str:
    """What a Status object says, or the beginning of whatever was sent in its place."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict) and isinstance(told.get("message"), str) and told["message"]:
        return str(told["message"])
    return body[:200].decode(errors="replace").strip() or _phrase(status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header; the API server never sends the other form, a date."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdigit():
        return None
    return min(float(retry_after), RETRY_AFTER_MOST_S)
