"""The nodes of the panel, as etcd has them: the controllers write them, every node may read them."""

from fabric.runtime.collection import Collection
from fabric.type.v1 import witness_pb2

PANEL = Collection(service="keys", name="panel", message=witness_pb2.Witness)
