"""The store of the whole cloud, for those who serve it and for those who only look."""

from fabric.compute import collection as compute
from fabric.identity import collection as identity
from fabric.image import collection as image
from fabric.network import collection as network
from fabric.node import member as node
from fabric.runtime.codec import Codec, master_keys
from fabric.runtime.config import Config
from fabric.runtime.etcd import Etcd
from fabric.runtime.store import Store


def make_store(config: Config, etcd: Etcd) -> Store:
    """All collections of all services."""
    services = (identity, image, network, compute, node)
    collections = [collection for service in services for collection in service.COLLECTIONS]
    limits = image.LIMITS | network.LIMITS | compute.LIMITS
    codec = Codec(master_keys(config.controller.master_key_file))
    return Store(etcd, codec, collections, limits=limits | config.quota)
