"""The simulator's cluster behind the runtime's ports: what it sees, and what it is told to do.

    EmbeddedCluster(cluster: scaler.sim.cluster.Cluster, policies: tuple[Policy, ...])
        async observe(at_s) -> Seen              advances the cluster to at_s; a service is named as its policy is
        async act(policy, commands) -> None      in their order, at the time of the last observe or advance
        advance(at_s) -> None                    lets time pass without looking

    scaler.sim.cluster.Cluster(services: Iterable[ServiceSpec], pools: Iterable[NodePool], *, seed: int)
        .at_s  .nodes
        .advance(until_s)
        .set_replicas(service, key, replicas)  .set_weights(service, weights)
        .observation(service) -> Observation  .outcomes(service) -> Outcomes  .tally(service) -> Tally
        .add_nodes(pool)  .remove_node(name)  .crash(service, pod_name)  .slow_loading(from_s=, factor=)
        .blind(service, from_s=, until_s=, nth=1)  .freeze(service, from_s=, until_s=)

    scaler.sim.service.ServiceSpec(name, trace, targets, weights=None, grace_s=120.0, objective=USUAL)
    scaler.sim.service.TargetSpec(key, engine, load_times, replicas=1)
    scaler.sim.nodes.NodePool(node_class, nodes, gpus_per_node, has_images=True)
    scaler.sim.loadtime.LoadTimes(median_s, pull_s=0.0, initialising_share=0.25)
    scaler.sim.latency: LLAMA_8B_H100, LLAMA_8B_L40S, QWEN_32B_H100, LLAMA_70B_H100; a node_class is an Engine's gpu
    scaler.sim.trace: shipped(), load(path), scaled(trace, factor, seed), TraceError

Time is the cluster's own: seconds since the start of the traces. To import this imports numba.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scaler.core.model import Policy, Snapshot
from scaler.core.plan import Command, SetReplicas, SetWeights
from scaler.runtime.ports import Seen, TransientError
from scaler.sim.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedCluster:
    """Observer and Actuator over one model of a cluster. Each policy scales the service of its name."""

    cluster: Cluster
    policies: tuple[Policy, ...]

    def advance(self, at_s: float) -> None:
        """Let time pass until ``at_s``; a time that has passed already changes nothing."""
        self.cluster.advance(at_s)

    async def observe(self, at_s: float) -> Seen:
        """What there is as of ``at_s``."""
        self.cluster.advance(at_s)
        models = {policy.name: self.cluster.observation(policy.name) for policy in self.policies}
        return Seen(snapshot=Snapshot(at_s=at_s, models=models), policies=self.policies)

    async def act(self, policy: Policy, commands: Sequence[Command]) -> None:
        """Carry out ``commands`` in their order, stopping at the first that names what is not there."""
        for command in commands:
            self._carry_out(policy.name, command)

    def _carry_out(self, service: str, command: Command) -> None:
        match command:
            case SetReplicas():
                try:
                    self.cluster.set_replicas(service, command.key, command.replicas)
                except KeyError as error:
                    raise TransientError(f"{service}: there is no target {command.key} to scale") from error
            case SetWeights():
                try:
                    self.cluster.set_weights(service, command.weights)
                except KeyError as error:
                    raise TransientError(f"{service}: the route has no backend for {error.args[0]}") from error
