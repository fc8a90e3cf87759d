"""Keys and values as etcd would hold them, for what reads etcd only."""

from typing import Any

from google.protobuf.message import Message

from fabric.runtime.codec import Codec
from fabric.runtime.etcd import KeyValue
from fabric.runtime.store import ROOT, Collection
from fabric.type.v1 import node_pb2


class Shelf:
    """What fabric.ctl.glance.Keys asks for, from a dictionary."""

    def __init__(self) -> None:
        self.codec = Codec()
        self.values: dict[str, KeyValue] = {}

    def lay(self, key: str, message: Message) -> None:
        """Put one key."""
        self.values[key] = KeyValue(key, self.codec.encode(message), len(self.values) + 1)

    def record(self, collection: Collection[Any], message: Any) -> None:
        """A resource as it rests."""
        stored = type(message)()
        stored.CopyFrom(message)
        collection.strip(stored)
        self.lay(collection.key(message.meta.id), stored)

    def life(self, node: str, *agents: str) -> None:
        """The node's live agents, and a leader of the loops."""
        for agent in agents:
            self.lay(f"{ROOT}/nodes/{node}/{agent}", node_pb2.Life(node=node, agent=agent))
        self.lay(f"{ROOT}/leaders/compute-servers", node_pb2.Life())

    async def get(self, key: str) -> KeyValue | None:
        return self.values.get(key)

    async def scan(self, prefix: str) -> tuple[list[KeyValue], int]:
        found = [kv for key, kv in sorted(self.values.items()) if key.startswith(prefix)]
        return found, len(self.values)
