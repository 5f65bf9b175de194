"""The replica count of a target, through its /scale: read where only it knows, and written.

A write says "has 7", never "2 more", and names the count that was seen: the API server refuses it when someone has
written another one meanwhile. That guards exactly the field that is decided on, where a guard by resourceVersion
would fail on every pod that becomes ready, and so most of all while a target grows. What is refused is decided anew,
on what is there then, by the next tick.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from scaler.adapters.kubernetes.client import Client, Patch
from scaler.adapters.kubernetes.discovery import Resource
from scaler.adapters.kubernetes.errors import ConflictError, NotFoundError, RefusedError
from scaler.adapters.kubernetes.targets import TargetSeen, version_of
from scaler.core.model import Missing

FIELD_MANAGER: Final = "forebay"
"""By this name the API server notes what we write."""


@dataclass(slots=True, kw_only=True)
class Scales:
    """Reads and writes /scale. What it read of an object is kept until the object's spec changes."""

    client: Client
    _read: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def requested(self, resource: Resource, namespace: str, target: TargetSeen) -> int | Missing:
        """The count that ``target`` is asked to have. Raises TransientError when it cannot be told now."""
        if target.requested is not None:
            return target.requested
        known = self._read.get(target.uid)
        if known is not None and known[0] == target.generation:
            return known[1]
        if not resource.has_scale:
            return Missing(why=f"{target.kind} has no /scale, so its replicas cannot be set")
        try:
            scale = await self.client.get(resource.path(namespace, target.name, "scale"))
        except NotFoundError as error:
            return Missing(why=f"{target.kind} {target.name} has no /scale: {error.message}")
        count = int((scale.get("spec") or {}).get("replicas") or 0)
        self._read[target.uid] = (target.generation, count)
        return count

    async def write(self, path: str, seen: int, replicas: int) -> int:
        """The /scale at ``path`` has ``replicas``, if it still has the ``seen`` ones; the object's version after it.

        Raises ConflictError when someone wrote another count meanwhile.
        """
        # A count of zero is left out of a Scale, and what is left out cannot be tested; leaving zero loses nobody.
        test = [{"op": "test", "path": "/spec/replicas", "value": seen}] if seen else []
        steps = [*test, {"op": "add", "path": "/spec/replicas", "value": replicas}]
        try:
            scale = await self.client.patch(path, Patch.JSON, steps, {"fieldManager": FIELD_MANAGER})
        except RefusedError as error:
            if error.status == HTTPStatus.UNPROCESSABLE_ENTITY and test:
                raise ConflictError(f"{path}: no longer has {seen} replicas: {error.message}") from error
            raise
        return version_of(scale.get("metadata") or {})

    def forget_all_but(self, uids: frozenset[str]) -> None:
        """Drop what was read of objects that no policy names any more."""
        self._read = {uid: known for uid, known in self._read.items() if uid in uids}
