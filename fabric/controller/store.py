"""The store of the whole cloud, for those who serve it and for those who only look."""

from fabric.compute import service as compute
from fabric.identity import service as identity
from fabric.image import service as image
from fabric.network import service as network
from fabric.node import service as node
from fabric.runtime.codec import Codec, master_keys
from fabric.runtime.config import Config
from fabric.runtime.etcd import Etcd
from fabric.runtime.store import Store

SERVICES = (identity, image, network, compute)


def make_store(config: Config, etcd: Etcd) -> Store:
    """All collections of all services."""
    collections = [collection for service in (*SERVICES, node) for collection in service.COLLECTIONS]
    limits = {name: limit for service in SERVICES for name, limit in service.LIMITS.items()}
    codec = Codec(master_keys(config.controller.master_key_file))
    return Store(etcd, codec, collections, limits=limits | config.quota)
