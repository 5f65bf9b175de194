"""A service whose replicas KEDA writes at the controller's word, for tests with the real KEDA.

The work in hand is a number in the policy's own query, so that the plan is that number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from scaler.adapters.keda.scaled_object import connection_of, scaled_objects
from scaler.api.v1alpha1 import ScalingPolicy
from testbed.tenant import Tenant
from testbed.waiting import wait_for
from tests.cluster.running import POLICIES, Controller, policy_of

SCALER: Final = "forebay-scaler.forebay.svc"
SCALER_PORT: Final = 9443
ADDRESS: Final = "10.244.255.1"
OTHER_ADDRESS: Final = "10.244.255.2"
"""Like those of two pods behind the headless Service, so far up in the range that no pod of a test gets them."""

MOST: Final = 24
KEDA: Final = "keda.sh/v1alpha1"
FOLLOWED_WITHIN_S: Final = 120.0
"""A shrink waits for a minute of signals and then the hold, an HPA up to 5 s, and the machine has other work."""


def answering(address: str = ADDRESS, **more: str) -> dict[str, str]:
    """The settings of a controller that answers KEDA at ``address``."""
    return {"keda_listen_on": str(SCALER_PORT), "keda_listen_address": address, **more}


def wait_until_it_answers(controller: Controller) -> None:
    """Return once KEDA can ask it: a ScaledObject that is made before waits for KEDA's next try."""
    wait_for("an answer", controller.log, lambda log: any(each["event"] == "answering_keda" for each in log))


def work_of(count: int) -> dict[str, Any]:
    """Signals by which exactly ``count`` replicas are needed."""
    return {"engine": "Custom", "queries": {"demand": f"vector({count})", "capacity": "vector(1)"}, "staleSeconds": 15}


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """One service: a Deployment, its policy, and for KEDA the ScaledObject that `forebay keda` prints."""

    tenant: Tenant
    name: str

    @classmethod
    def decided(cls, tenant: Tenant, name: str, count: int, **spec: Any) -> "Following":
        """A new service that has, and needs, ``count`` replicas, and no ScaledObject; ``spec`` is of its policy."""
        tenant.add_deployment(name, replicas=count, gpus=0)
        bounds = {"min": 1, "max": MOST}
        body = policy_of(name, **{"signals": work_of(count), "replicas": bounds, "actuation": "KEDA", **spec})
        tenant.api.create(tenant.path(POLICIES, "scalingpolicies"), body)
        return cls(tenant=tenant, name=name)

    @classmethod
    def added(cls, tenant: Tenant, name: str, count: int, **spec: Any) -> "Following":
        """The same, and KEDA is asked to follow."""
        added = cls.decided(tenant, name, count, **spec)
        added.ask_keda()
        return added

    def ask_keda(self) -> None:
        """Add the ScaledObject that fits the policy."""
        policy = ScalingPolicy.model_validate(self.tenant.api.get(self._policy))
        for scaled_object in scaled_objects(policy, connection_of(policy)):
            self.tenant.api.create(self.tenant.path(KEDA, "scaledobjects"), scaled_object)

    def need(self, count: int) -> None:
        """Have work for exactly ``count`` replicas from now on."""
        spec = {"signals": {"queries": {"demand": f"vector({count})"}}}
        self.tenant.api.patch(self._policy, {"spec": spec})

    def requested(self) -> int:
        """What the Deployment is asked to have."""
        return int(self._deployment()["spec"]["replicas"])

    def wait_for(self, count: int, *, within_s: float = FOLLOWED_WITHIN_S) -> None:
        """Return once the Deployment is asked for exactly ``count``."""
        wait_for(f"{count} replicas of {self.name}", self.requested, lambda now: now == count, within_s=within_s)

    def writes(self) -> int:
        """How often its replica count was changed: nothing else of its spec is."""
        return int(self._deployment()["metadata"]["generation"]) - 1

    def hpa(self) -> Mapping[str, Any] | None:
        """The HPA that KEDA made of it, None before there is one."""
        found = self.tenant.api.items(self.tenant.path("autoscaling/v2", "horizontalpodautoscalers"))
        return next((hpa for hpa in found if hpa["spec"]["scaleTargetRef"]["name"] == self.name), None)

    @property
    def _policy(self) -> str:
        return self.tenant.path(POLICIES, "scalingpolicies", self.name)

    def _deployment(self) -> dict[str, Any]:
        found: dict[str, Any] = self.tenant.api.get(self.tenant.path("apps/v1", "deployments", self.name))
        return found
