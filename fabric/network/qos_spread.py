"""The leader's loop that tells nodes of the QoS policies that their ports go by: one write a policy and node."""

from collections import Counter, defaultdict
from datetime import timedelta

from fabric.network.collection import NETWORKS, PORTS, QOS_POLICIES, QOS_RULES, marked
from fabric.network.following import following
from fabric.network.qos import policy_of
from fabric.network.qos_policy import want_of
from fabric.network.telling import Telling
from fabric.network.v1 import port_pb2
from fabric.runtime.reconcile import Loop
from fabric.runtime.store import Store

Place = tuple[str, frozenset[str]]  # a policy, and the nodes that have the port


class QosSpread:
    """One term of leadership. Wakes by what ports, networks, policies and rules say."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._telling = Telling(store, QOS_POLICIES)
        self._places: dict[str, Place] = {}  # by port
        self._nodes: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by policy
        self._network_policies: dict[str, str] = {}
        self._rule_policies: dict[str, str] = {}  # of rules that may be gone when their change is told
        self._loop = Loop("network.qos", self.reconcile, self._ids)

    async def run(self) -> None:
        with following(
            self._store,
            (NETWORKS, self._network_changed),
            (PORTS, self._port_changed),
            (QOS_POLICIES, self._loop.wake),
            (QOS_RULES, self._rule_changed),
        ):
            await self._loop.run()

    async def reconcile(self, policy_id: str) -> timedelta | None:
        """The policy with its rules on each node that has a port which goes by it."""
        want = want_of(self._store, policy_id)
        nodes = set(self._nodes.get(policy_id, ())) if want is not None else set()
        await self._telling.tell(policy_id, dict.fromkeys(nodes, want))
        return None

    def _ids(self) -> set[str]:
        return {*self._store.table(QOS_POLICIES).ids(), *self._telling.ids()}

    def _port_changed(self, port_id: str) -> None:
        port = self._store.find(PORTS, port_id)
        old, new = self._places.pop(port_id, None), self._place(port)
        if new is not None:
            self._places[port_id] = new
        for place, sign in ((old, -1), (new, 1)):
            if place is None or old == new:
                continue
            counter = self._nodes[place[0]]
            for node in place[1]:
                counter[node] += sign
                if not counter[node]:
                    del counter[node]
            self._loop.wake(place[0])

    def _place(self, port: port_pb2.Port | None) -> Place | None:
        if port is None or marked(port):
            return None
        policy_id = policy_of(port, self._store.find(NETWORKS, port.spec.network_id))
        nodes = frozenset({port.spec.node, port.spec.target_node} - {""})
        return (policy_id, nodes) if policy_id and nodes else None

    def _network_changed(self, network_id: str) -> None:
        network = self._store.find(NETWORKS, network_id)
        policy_id = network.spec.qos_policy_id if network is not None else ""
        if self._network_policies.get(network_id, "") == policy_id:
            return
        self._network_policies[network_id] = policy_id
        if network is None:
            del self._network_policies[network_id]
        for port in self._store.table(PORTS).by("network", network_id):
            self._port_changed(port.meta.id)

    def _rule_changed(self, rule_id: str) -> None:
        rule = self._store.find(QOS_RULES, rule_id)
        if rule is not None:
            self._rule_policies[rule_id] = rule.spec.policy_id
        policy_id = self._rule_policies.get(rule_id, "")
        if rule is None:
            self._rule_policies.pop(rule_id, None)
        if policy_id:
            self._loop.wake(policy_id)
