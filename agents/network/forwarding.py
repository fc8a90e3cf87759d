"""Where the frames of a network go that leave the node: what its devices should hold. No I/O."""

from collections.abc import Mapping

from agents.network.directory import link_local
from fabric.network.v1 import neighbor_pb2

FLOOD = "flood"  # a peer's tunnel address: what is for everybody is sent there too
FORWARD = "forward"  # a MAC -> the tunnel address that has it
ANSWER = "answer"  # an address -> the MAC that is told to who asks for it

Key = tuple[str, str]
Entries = dict[Key, str]


class Forwarding:
    """One network's entries, and which of them may have changed since they were last written."""

    def __init__(self) -> None:
        self.peers: dict[str, str] = {}  # node -> tunnel address
        self.touched: set[Key] = set()
        self._neighbors: dict[str, neighbor_pb2.Neighbor] = {}
        self._said: dict[str, Entries] = {}  # by port or peer
        self._wanted: dict[Key, tuple[str, str]] = {}  # who said it last, and the value

    def __bool__(self) -> bool:
        return bool(self.peers or self._neighbors)

    def wanted(self) -> Entries:
        """All that should be there."""
        return {key: value for key, (_, value) in self._wanted.items()}

    def get(self, key: Key) -> str | None:
        """None: it should not be there."""
        found = self._wanted.get(key)
        return None if found is None else found[1]

    def put_peers(self, peers: Mapping[str, str]) -> None:
        """The network is on these other nodes."""
        moved = {node for node in {*self.peers, *peers} if self.peers.get(node) != peers.get(node)}
        self.peers = dict(peers)
        for node in moved:
            self._say(f"peer {node}", {(FLOOD, peers[node]): ""} if node in peers else {})
        for port_id, neighbor in self._neighbors.items():
            if neighbor.node in moved:
                self._say(port_id, self._entries(neighbor))

    def put(self, port_id: str, neighbor: neighbor_pb2.Neighbor) -> None:
        """The port is where the neighbor says."""
        self._neighbors[port_id] = neighbor
        self._say(port_id, self._entries(neighbor))

    def drop(self, port_id: str) -> None:
        """The port is no neighbor any more."""
        self._neighbors.pop(port_id, None)
        self._say(port_id, {})

    def _entries(self, neighbor: neighbor_pb2.Neighbor) -> Entries:
        """Nothing is said of a port whose node is no peer yet: who asks is answered by the port itself."""
        address, mac = self.peers.get(neighbor.node), neighbor.mac_address
        if address is None:
            return {}
        answers = {(ANSWER, ip): mac for ip in (*neighbor.addresses, link_local(mac))}
        return {(FORWARD, mac): address, **answers}

    def _say(self, who: str, entries: Entries) -> None:
        """What this one says now; an entry is as who said it last."""
        for key in self._said.pop(who, {}).keys() - entries.keys():
            if self._wanted.get(key, ("", ""))[0] == who:
                del self._wanted[key]
                self.touched.add(key)
        if entries:
            self._said[who] = entries
        for key, value in entries.items():
            if self._wanted.get(key) != (who, value):
                self._wanted[key] = (who, value)
                self.touched.add(key)
