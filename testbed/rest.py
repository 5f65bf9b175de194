"""A small client for the Kubernetes API, for tests: plain JSON in and out, nothing cached.

Nothing is retried but what the API server asks to be: it answers 429 while the storage of a new kind is set up.

It is not the product's client on purpose: a test that looks through the code under test sees what that code sees.
"""

import http.client
import json
import ssl
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from testbed.waiting import wait_for


class Patch(Enum):
    """How a patch is to be understood."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class RefusedError(Exception):
    """The API server's no, with its status code and its own words."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class Rest:
    """The API as one caller, who is whoever ``token`` says."""

    def __init__(self, *, host: str, port: int, authority: Path, token: str) -> None:
        self.host = host
        self.port = port
        self.token = token
        self._trust = ssl.create_default_context(cafile=authority)

    def get(self, path: str, **query: str) -> Any:
        """The object or list at ``path``."""
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path)

    def exists(self, path: str) -> bool:
        """Whether there is an object at ``path``."""
        try:
            self.get(path)
        except RefusedError as error:
            if error.status != http.client.NOT_FOUND:
                raise
            return False
        return True

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The objects of the list at ``path``."""
        found: list[dict[str, Any]] = self.get(path, **query)["items"]
        return found

    def create(self, path: str, body: object) -> Any:
        """The object as it was stored."""
        return self.call("POST", path, body)

    def replace(self, path: str, body: object) -> Any:
        """The object as it was stored in the old one's place."""
        return self.call("PUT", path, body)

    def patch(self, path: str, body: object, how: Patch = Patch.MERGE) -> Any:
        """The object after the patch; an applied one is forced, as the testbed."""
        query = "?fieldManager=testbed&force=true" if how is Patch.APPLY else ""
        return self.call("PATCH", path + query, body, how.value)

    def delete(self, path: str, **query: str) -> Any:
        """What the API says of the deletion; the object may take its time."""
        return self.call("DELETE", f"{path}?{urlencode(query)}" if query else path)

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Any:
        """The decoded answer to one request; `RefusedError` where it is a no."""
        status, text = wait_for(
            f"{method} {path} to be taken",
            lambda: self._sent(method, path, body, content_type),
            lambda sent: sent[0] != http.client.TOO_MANY_REQUESTS,
            every_s=0.2,
        )
        return decoded(status, text)

    def _sent(self, method: str, path: str, body: object, content_type: str) -> tuple[int, bytes]:
        content = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=30, context=self._trust)
        try:
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def decoded(status: int, text: bytes) -> Any:
    """The JSON of a good answer; a few paths, as /readyz, answer with plain words."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = text.decode(errors="replace")
    if status < http.client.BAD_REQUEST:
        return answer
    if isinstance(answer, dict):
        raise RefusedError(status, answer.get("reason", ""), answer.get("message", ""))
    raise RefusedError(status, "", str(answer))
