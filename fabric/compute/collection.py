"""What rests in etcd below /fabric/compute; what the rules of its kind need is beside those rules."""

from typing import Any

from fabric.compute.consumer import CONSUMERS
from fabric.compute.migration import MIGRATIONS
from fabric.compute.node import NODES
from fabric.compute.provider import PROVIDERS
from fabric.compute.server import SERVERS
from fabric.compute.v1 import (
    aggregate_pb2,
    flavor_pb2,
    instance_action_pb2,
    keypair_pb2,
    quota_pb2,
    server_group_pb2,
    vocabulary_pb2,
)
from fabric.runtime.store import UNLIMITED, Collection

FLAVORS = Collection(
    service="compute",
    name="flavors",
    message=flavor_pb2.Flavor,
    claims=lambda flavor: [("name", flavor.meta.name)],
)

KEYPAIRS = Collection(
    service="compute",
    name="keypairs",
    message=keypair_pb2.Keypair,
    indexes={"user_id": lambda keypair: (keypair.user_id,)},
    charges=lambda keypair: {(f"user:{keypair.user_id}", "compute.key_pairs"): 1},
)

ACTIONS = Collection(
    service="compute",
    name="instance_actions",
    message=instance_action_pb2.InstanceAction,
    indexes={"server_id": lambda action: (action.server_id,)},
)

SERVER_GROUPS = Collection(
    service="compute",
    name="server_groups",
    message=server_group_pb2.ServerGroup,
    charges=lambda group: {"compute.server_groups": 1},
    output_only=("server_ids",),
)

AGGREGATES = Collection(
    service="compute",
    name="aggregates",
    message=aggregate_pb2.Aggregate,
    claims=lambda aggregate: [("name", aggregate.meta.name)],
)

QUOTA_LIMITS = Collection(service="compute", name="quota_limits", message=quota_pb2.QuotaLimits)

TRAITS = Collection(service="compute", name="traits", message=vocabulary_pb2.Trait, output_only=("used",))

CLASSES = Collection(
    service="compute", name="resource_classes", message=vocabulary_pb2.ResourceClass, output_only=("used",)
)

COLLECTIONS: list[Collection[Any]] = [
    SERVERS,
    NODES,
    FLAVORS,
    KEYPAIRS,
    ACTIONS,
    SERVER_GROUPS,
    AGGREGATES,
    QUOTA_LIMITS,
    MIGRATIONS,
    PROVIDERS,
    CONSUMERS,
    TRAITS,
    CLASSES,
]

LIMITS = {
    "compute.instances": 10,
    "compute.cores": 20,
    "compute.ram": 51200,
    "compute.metadata_items": 128,
    "compute.injected_files": 5,
    "compute.injected_file_content_bytes": 10240,
    "compute.injected_file_path_bytes": 255,
    "compute.key_pairs": 100,
    "compute.server_groups": 10,
    "compute.server_group_members": 10,
    # Kept and told for old clients; the network service has the limits that hold.
    "compute.fixed_ips": UNLIMITED,
    "compute.floating_ips": UNLIMITED,
    "compute.networks": UNLIMITED,
    "compute.security_groups": UNLIMITED,
    "compute.security_group_rules": UNLIMITED,
}
