"""A cloud with something of everything in it, for an administrator and for a plain user."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.http_client import Http, Refused

Pools = dict[str, list[str]]  # collection, as paths name it -> ids
_OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass
class Owner:
    """Who calls, and what is theirs."""

    name: str
    http: Http
    own: Pools = field(default_factory=dict)

    def make(self, collection: str, method: str, path: str, body: Any, key: str = "id") -> str:
        """Make one and remember it; "" where the API has no such thing yet."""
        try:
            answer = self.http.call(method, path, body)
        except Refused as error:
            if error.status in (404, 405, 501):
                return ""
            raise
        inner = next(iter(answer.values())) if len(answer) == 1 else answer
        self.own.setdefault(collection, []).append(str(inner[key]))
        return str(inner[key])


def furnish(owner: Owner) -> None:
    """What any user can have, twice: some of it will be deleted on the way."""
    for n in ("a", "b"):
        net = owner.make("networks", "POST", "/network/v2.0/networks", {"network": {"name": n}})
        subnet = {"network_id": net, "ip_version": 4, "cidr": "10.1.0.0/24"}
        subnet_id = owner.make("subnets", "POST", "/network/v2.0/subnets", {"subnet": subnet})
        owner.make("ports", "POST", "/network/v2.0/ports", {"port": {"network_id": net}})
        _join(owner, net)
        group = {"security_group": {"name": n}}
        id_ = owner.make("security-groups", "POST", "/network/v2.0/security-groups", group)
        rule = {"security_group_id": id_, "direction": "ingress", "ethertype": "IPv4"}
        owner.make(
            "security-group-rules",
            "POST",
            "/network/v2.0/security-group-rules",
            {"security_group_rule": rule},
        )
        router = owner.make("routers", "POST", "/network/v2.0/routers", {"router": {"name": n}})
        add = f"/network/v2.0/routers/{router}/add_router_interface"
        owner.http.call("PUT", add, {"subnet_id": subnet_id})
        shared = {
            "object_type": "network",
            "object_id": net,
            "action": "access_as_shared",
            "target_tenant": "x",
        }
        for collection, body in {
            "address-scopes": {"address_scope": {"name": n, "ip_version": 4}},
            "subnetpools": {"subnetpool": {"name": n, "prefixes": ["10.9.0.0/16"]}},
            "address-groups": {"address_group": {"name": n, "addresses": ["10.9.0.0/16"]}},
            "rbac-policies": {"rbac_policy": shared},
        }.items():
            owner.make(collection, "POST", f"/network/v2.0/{collection}", body)
        image = {"name": n, "disk_format": "raw", "container_format": "bare"}
        image_id = owner.make("images", "POST", "/image/v2/images", image)
        owner.http.call("PUT", f"/image/v2/images/{image_id}/file", b"\0" * 1024, _OCTETS)
        owner.make(
            "os-keypairs",
            "POST",
            "/compute/v2.1/os-keypairs",
            {"keypair": {"name": n, "public_key": KEY}},
            "name",
        )
    application = {"application_credential": {"name": "a"}}
    path = f"/identity/v3/users/{owner.http.user_id}/application_credentials"
    owner.make("application_credentials", "POST", path, application)


def boot(owner: Owner, flavor: str) -> None:
    """Servers on what furnish has made."""
    for n in range(2):
        server = {
            "name": f"s{n}",
            "imageRef": owner.own["images"][0],
            "flavorRef": flavor,
            "networks": [{"uuid": owner.own["networks"][0]}],
        }
        owner.make("servers", "POST", "/compute/v2.1/servers", {"server": server})


def rule(owner: Owner) -> None:
    """What only an administrator can make."""
    for n in ("a", "b"):
        for collection, body in {
            "domains": {"domain": {"name": n, "enabled": False}},
            "projects": {"project": {"name": n}},
            "users": {"user": {"name": n, "password": "secret-of-n"}},
            "groups": {"group": {"name": n}},
            "roles": {"role": {"name": n}},
            "services": {"service": {"type": f"type-{n}", "name": n}},
            "regions": {"region": {"id": f"region-{n}"}},
            "policies": {"policy": {"type": "application/json", "blob": "{}"}},
        }.items():
            owner.make(collection, "POST", f"/identity/v3/{collection}", body)
        policy = owner.make("policies", "POST", "/network/v2.0/qos/policies", {"policy": {"name": n}})
        for kind, amount in {"bandwidth_limit": "max_kbps", "dscp_marking": "dscp_mark"}.items():
            path, limit = f"/network/v2.0/qos/policies/{policy}/{kind}_rules", {f"{kind}_rule": {amount: 8}}
            id_ = owner.make(f"{kind}_rules", "POST", path, limit)
            owner.own.setdefault(f"alias_{kind}_rules", []).append(id_)
        flavor = {"flavor": {"name": n, "ram": 64, "vcpus": 1, "disk": 1}}
        owner.make("flavors", "POST", "/compute/v2.1/flavors", flavor)
        outside = {"network": {"name": f"outside-{n}", "router:external": True}}
        outer = owner.make("networks", "POST", "/network/v2.0/networks", outside)
        subnet = {"network_id": outer, "ip_version": 4, "cidr": "172.24.4.0/24"}
        owner.make("subnets", "POST", "/network/v2.0/subnets", {"subnet": subnet})
        floating = {"floatingip": {"floating_network_id": outer}}
        owner.make("floatingips", "POST", "/network/v2.0/floatingips", floating)
        first = 70_000 if n == "a" else 80_000
        vnis = {"network_type": "vxlan", "minimum": first, "maximum": first + 9}
        template = {"direction": "ingress", "protocol": "tcp" if n == "a" else "udp"}
        for noun, body in {
            "network-segment-ranges": {"network_segment_range": {"name": n, **vnis}},
            "default-security-group-rules": {"default_security_group_rule": template},
            "metering/metering-labels": {"metering_label": {"name": n}},
            "flavors": {"flavor": {"name": n, "service_type": "L3_ROUTER_NAT"}},
            "log/logs": {"log": {"name": n, "resource_type": "security_group"}},
            "service_profiles": {"service_profile": {"metainfo": n}},
        }.items():
            owner.make(noun.rpartition("/")[2], "POST", f"/network/v2.0/{noun}", body)
        _provide(owner, n)
    endpoint = {"service_id": owner.own["services"][0], "interface": "public", "url": "http://x"}
    owner.make("endpoints", "POST", "/identity/v3/endpoints", {"endpoint": endpoint})


def _join(owner: Owner, network: str) -> None:
    """A trunk of two ports."""
    ports = []
    for _ in range(2):
        port = {"port": {"network_id": network}}
        ports.append(owner.make("ports", "POST", "/network/v2.0/ports", port))
    sub_port = {"port_id": ports[1], "segmentation_type": "vlan", "segmentation_id": 2}
    trunk = {"trunk": {"port_id": ports[0], "sub_ports": [sub_port]}}
    owner.make("trunks", "POST", "/network/v2.0/trunks", trunk)


def _provide(owner: Owner, n: str) -> None:
    """A provider, a consumer of it, and a resource class."""
    at_1_20 = {"OpenStack-API-Version": "placement 1.20"}
    provider = owner.http.call("POST", "/placement/resource_providers", {"name": n}, at_1_20)["uuid"]
    owner.own.setdefault("resource_providers", []).append(provider)
    inventory = {"resource_class": "VCPU", "total": 8}
    owner.http.call("POST", f"/placement/resource_providers/{provider}/inventories", inventory)
    taken = {"resource_provider": {"uuid": provider}, "resources": {"VCPU": 1}}
    consumer = str(uuid.uuid4())
    owner.http.call("PUT", f"/placement/allocations/{consumer}", {"allocations": [taken]})
    owner.own.setdefault("allocations", []).append(consumer)
    owner.http.call("PUT", f"/placement/resource_classes/CUSTOM_{n.upper()}", None, at_1_20)
    owner.own.setdefault("resource_classes", []).append(f"CUSTOM_{n.upper()}")


def vital(owner: Owner, others: Sequence[Owner]) -> Mapping[str, list[str]]:
    """Ids that may be looked at only: without them nobody can call any more."""
    listed: Mapping[str, Callable[[], list[str]]] = {
        "domains": lambda: ["default"],
        "users": lambda: [caller.http.user_id for caller in (owner, *others)],
        "projects": lambda: [caller.http.project_id for caller in (owner, *others)],
        "roles": lambda: [role["id"] for role in owner.http.call("GET", "/identity/v3/roles")["roles"]],
    }
    made = {id_ for ids in owner.own.values() for id_ in ids}
    return {name: [id_ for id_ in ids() if id_ not in made] for name, ids in listed.items()}


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYhHGFuMJBgdGYLDhDlsYPvYKAKkNlSQVcBbKmRrFcR fuzz"
