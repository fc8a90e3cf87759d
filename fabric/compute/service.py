"""Compute's gRPC services and what rests in etcd for them."""

from typing import Any

from fabric.compute.aggregate import Aggregates
from fabric.compute.compute_node import ComputeNodes
from fabric.compute.consoles import Consoles
from fabric.compute.consumers import Consumers
from fabric.compute.flavor import Flavors
from fabric.compute.instance_action import InstanceActions
from fabric.compute.keypair import Keypairs
from fabric.compute.migrations import Migrations
from fabric.compute.placing import Placing
from fabric.compute.providers import ResourceProviders
from fabric.compute.quota import Quotas
from fabric.compute.server_group import ServerGroups
from fabric.compute.servers import Servers
from fabric.compute.v1 import (
    aggregate_pb2,
    compute_node_pb2,
    console_pb2,
    consumer_pb2,
    flavor_pb2,
    instance_action_pb2,
    keypair_pb2,
    migration_pb2,
    quota_pb2,
    resource_provider_pb2,
    server_group_pb2,
    server_pb2,
    vocabulary_pb2,
)
from fabric.compute.vocabulary import ResourceClasses, Traits
from fabric.runtime.client import Client, Clients
from fabric.runtime.config import Config
from fabric.runtime.policy import Policy
from fabric.runtime.resource import Resource, methods
from fabric.runtime.rpc import Server
from fabric.runtime.store import Store
from fabric.runtime.ticket import Signer
from fabric.runtime.tls import identity

PUBLIC = frozenset({"fabric.compute.v1.ConsoleService/FindConsole"})


def register(server: Server, store: Store, policy: Policy, config: Config, client: Client) -> None:
    """Serve all of compute."""
    signer = Signer.of(config.controller.master_key_file)
    agents, placing = Clients(identity(config.tls)), Placing(store, config.compute)
    servers = Servers(store, policy, client, signer, agents, placing)
    migrations = Migrations(store, policy)
    nodes = ComputeNodes(store, policy)
    keypairs, actions = Keypairs(store, policy), InstanceActions(store, policy)
    providers = ResourceProviders(store, policy, config.compute)
    classes = ResourceClasses(store, policy)
    words: dict[str, Resource[Any]] = {"Trait": Traits(store, policy), "ResourceClass": classes}
    parts: list[tuple[Any, str, dict[str, Resource[Any]], object]] = [
        (server_pb2, "ServerService", {"Server": servers}, servers),
        (console_pb2, "ConsoleService", {}, Consoles(store, servers, signer)),
        (migration_pb2, "MigrationService", {"Migration": migrations}, migrations),
        (flavor_pb2, "FlavorService", {"Flavor": Flavors(store, policy)}, None),
        (keypair_pb2, "KeypairService", {}, keypairs),
        (instance_action_pb2, "InstanceActionService", {}, actions),
        (compute_node_pb2, "ComputeNodeRegistryService", {"ComputeNode": nodes}, nodes),
        (server_group_pb2, "ServerGroupService", {"ServerGroup": ServerGroups(store, policy)}, None),
        (aggregate_pb2, "AggregateService", {"Aggregate": Aggregates(store, policy)}, None),
        (quota_pb2, "QuotaService", {}, Quotas(store, policy)),
        (resource_provider_pb2, "ResourceProviderService", {"ResourceProvider": providers}, providers),
        (consumer_pb2, "ConsumerService", {}, Consumers(store, policy, providers)),
        (vocabulary_pb2, "VocabularyService", words, classes),
    ]
    for module, name, resources, extra in parts:
        descriptor = module.DESCRIPTOR.services_by_name[name]
        server.add(descriptor, methods(descriptor, resources, extra))
