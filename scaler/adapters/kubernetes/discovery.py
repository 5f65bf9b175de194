"""What kinds the API server serves, and by which resource: asked once for each group and version, then remembered."""

from dataclasses import dataclass, field
from typing import Final

from scaler.adapters.kubernetes.client import Client
from scaler.adapters.kubernetes.errors import NotFoundError
from scaler.adapters.kubernetes.paths import path_to, root_of
from scaler.core.model import Missing
from scaler.runtime.ports import Clock

ASK_AGAIN_S: Final = 60.0
"""What was missing is asked for again after so long: a CRD may be installed at any time."""

FORGET_S: Final = 1800.0
"""What was found is asked for again after so long: a kind may lose its /scale, or go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind as the API server serves it."""

    api_version: str
    kind: str
    plural: str
    has_scale: bool

    def path(self, namespace: str, *names: str) -> str:
        """The path of the list in ``namespace``, of one object, or of a subresource of it."""
        return path_to(self.api_version, self.plural, namespace, *names)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    asked_at_s: float
    resources: dict[str, Resource] | None


@dataclass(slots=True, kw_only=True)
class Discovery:
    """Knows the resources of kinds; ``clock`` is a steady one."""

    client: Client
    clock: Clock
    _groups: dict[str, _Group] = field(default_factory=dict)

    async def resource(self, api_version: str, kind: str) -> Resource | Missing:
        """The resource of a kind. Raises TransientError when the API server cannot tell now."""
        group = self._groups.get(api_version)
        if group is None or self._is_old(group, kind):
            group = await self._ask(api_version)
            self._groups[api_version] = group
        if group.resources is None:
            return Missing(why=f"the API server does not serve {api_version}")
        found = group.resources.get(kind)
        return found or Missing(why=f"the API server knows no {kind} in {api_version}")

    def _is_old(self, group: _Group, kind: str) -> bool:
        age_s = self.clock.now_s() - group.asked_at_s
        return age_s >= (FORGET_S if kind in (group.resources or {}) else ASK_AGAIN_S)

    async def _ask(self, api_version: str) -> _Group:
        try:
            told = await self.client.get(root_of(api_version))
        except NotFoundError:
            return _Group(asked_at_s=self.clock.now_s(), resources=None)
        listed = told.get("resources") or ()
        scaled = {each["name"].partition("/")[0] for each in listed if each["name"].endswith("/scale")}
        resources = {
            each["kind"]: Resource(
                api_version=api_version, kind=each["kind"], plural=each["name"], has_scale=each["name"] in scaled
            )
            for each in listed
            if "/" not in each["name"]
        }
        return _Group(asked_at_s=self.clock.now_s(), resources=resources)
