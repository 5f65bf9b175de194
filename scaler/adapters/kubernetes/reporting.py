"""Tells of decisions where users look: in the status of their policy, and in events on it."""

from dataclasses import dataclass, field
from typing import Final

from structlog.typing import FilteringBoundLogger

from scaler.adapters.kubernetes.client import Client, Patch
from scaler.adapters.kubernetes.errors import RefusedError
from scaler.adapters.kubernetes.events import Events, Regarding, happenings
from scaler.adapters.kubernetes.paths import path_to
from scaler.adapters.kubernetes.policies import PolicyObject
from scaler.adapters.kubernetes.status import Change, body_of, change
from scaler.adapters.kubernetes.targets import version_of
from scaler.api.status import Status
from scaler.api.v1alpha1 import API_VERSION, KIND
from scaler.runtime.ports import TransientError

FIELD_MANAGER: Final = "forebay-status"
"""The one who applies the status; another than the one who writes /scale, as they are two jobs."""

WORDS_EVERY_S: Final = 60.0
"""A status that differs in words alone, such as the seconds that something took so far, is written so often."""

LEARNED_EVERY_S: Final = 600.0
"""What was learned goes along with every other change, and alone at most so often, where it has moved. A process that
dies loses that much of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    status: Status
    version: int
    at_s: float


@dataclass(slots=True, kw_only=True)
class Reporter:
    """Writes statuses that changed, and events on what changed in them. What fails is tried again with the next."""

    client: Client
    events: Events
    log: FilteringBoundLogger
    _written: dict[str, _Written] = field(default_factory=dict)

    def current(self, policy: PolicyObject) -> Status | None:
        """The status that the policy has: as it was seen, or as we wrote it where that is newer."""
        ours = self._written.get(policy.uid)
        return policy.status if ours is None or policy.version >= ours.version else ours.status

    async def report(self, policy: PolicyObject, status: Status, at_s: float) -> None:
        """Write ``status`` if it says anything new."""
        before = self.current(policy)
        if not self.is_due(policy, change(status, before), at_s):
            return
        path = path_to(API_VERSION, "scalingpolicies", policy.namespace, policy.name, "status")
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            # With the uid, a policy that was deleted and made again does not get its forerunner's status.
            "metadata": {"name": policy.name, "namespace": policy.namespace, "uid": policy.uid},
            "status": body_of(status),
        }
        try:
            stored = await self.client.patch(path, Patch.APPLY, body, {"fieldManager": FIELD_MANAGER, "force": "true"})
        except (TransientError, RefusedError) as error:
            self.log.warning("status_not_written", policy=policy.full_name, why=str(error))
            return
        version = version_of(stored.get("metadata") or {})
        self._written[policy.uid] = _Written(status=status, version=version, at_s=at_s)
        about = Regarding(namespace=policy.namespace, name=policy.name, uid=policy.uid)
        for happening in happenings(status, before):
            await self.events.tell(about, happening, at_s)

    def keep_only(self, uids: frozenset[str]) -> None:
        """Forget the policies that are gone."""
        self._written = {uid: written for uid, written in self._written.items() if uid in uids}

    def is_due(self, policy: PolicyObject, changed: Change, at_s: float) -> bool:
        """Whether a change of this kind is worth a write now."""
        written = self._written.get(policy.uid)
        since_s = None if written is None else at_s - written.at_s
        match changed:
            case Change.NONE:
                return False
            case Change.FACTS:
                return True
            case Change.WORDS:
                return since_s is None or not 0.0 <= since_s < WORDS_EVERY_S
            case Change.LEARNED:
                return since_s is None or not 0.0 <= since_s < LEARNED_EVERY_S
