"""Keep the ports of the node within their QoS policies."""

from collections.abc import Callable, Iterable
from datetime import timedelta

from agents.network.driver import QosDriver
from agents.network.limit import Limits, limits
from fabric.network.qos import policy_of
from fabric.network.v1 import network_pb2, port_pb2, qos_pb2
from fabric.runtime.node import Wanted


class Policies:
    """Its reconcile function, and what a port goes by."""

    def __init__(
        self,
        store: Wanted[qos_pb2.QosPolicyWant],
        networks: Wanted[network_pb2.NetworkWant],
        driver: QosDriver,
        ports: Callable[[], Iterable[port_pb2.Port]],
        wake_port: Callable[[str], None],
    ) -> None:
        """ports: those of the node."""
        self._store = store
        self._networks = networks
        self._driver = driver
        self._ports = ports
        self._wake_port = wake_port

    async def adopt(self, ports: Iterable[port_pb2.Port]) -> None:
        """Know what all of them are limited to before anything is written."""
        await self._driver.adopt({port.meta.id: self._limits(port) for port in ports})

    async def ensure(self, port: port_pb2.Port) -> None:
        """Limit the port to what its policy says."""
        await self._driver.ensure_port(port.meta.id, self._limits(port))

    def missing(self, port: port_pb2.Port) -> str:
        """The policy that the port goes by and that the node does not know yet; empty: none."""
        policy_id = self._of(port)
        return policy_id if policy_id and self._store.get(policy_id) is None else ""

    async def reconcile(self, policy_id: str) -> timedelta | None:
        """What the ports that go by the policy are limited to."""
        for port in self._ports():
            if self._of(port) == policy_id:
                self._wake_port(port.meta.id)
        return None

    def _limits(self, port: port_pb2.Port) -> Limits:
        return limits(self._store.get(self._of(port)))

    def _of(self, port: port_pb2.Port) -> str:
        want = self._networks.get(port.spec.network_id)
        return policy_of(port, want.network if want is not None else None)
