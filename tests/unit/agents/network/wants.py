"""Networks, ports and groups as a controller would want them of a node."""

import uuid

from fabric.network.v1 import network_pb2, port_pb2, qos_pb2, router_pb2, security_group_pb2, subnet_pb2


def a_subnet(
    network_id: str, cidr: str = "10.0.0.0/24", *, gateway: str = "10.0.0.1", **spec: object
) -> subnet_pb2.Subnet:
    subnet = subnet_pb2.Subnet()
    subnet.meta.id = str(uuid.uuid4())
    version = 6 if ":" in cidr else 4
    subnet.spec.MergeFrom(
        subnet_pb2.SubnetSpec(
            network_id=network_id,
            ip_version=version,
            cidr=cidr,
            gateway_ip=gateway,
            **{"enable_dhcp": True, **spec},  # type: ignore[arg-type]
        )
    )
    return subnet


def a_network(
    *subnets: subnet_pb2.Subnet, network_id: str, dhcp: tuple[str, ...] = ("10.0.0.2",), mtu: int = 1450
) -> network_pb2.NetworkWant:
    """dhcp: the DHCP port's address in each subnet."""
    want = network_pb2.NetworkWant(subnets=subnets)
    want.network.meta.id = network_id
    want.network.meta.generation = 1
    want.network.spec.mtu = mtu
    want.network.spec.admin_state_up = True
    if dhcp:
        want.dhcp_port.CopyFrom(
            a_port(network_id, [(s, a) for s, a in zip(subnets, dhcp, strict=True)], owner="network:dhcp")
        )
    return want


def a_port(
    network_id: str,
    addresses: list[tuple[subnet_pb2.Subnet, str]],
    *,
    groups: list[str] | None = None,
    owner: str = "compute:nova",
    secure: bool = True,
) -> port_pb2.Port:
    port = port_pb2.Port()
    port.meta.id = str(uuid.uuid4())
    port.meta.generation = 1
    raw = uuid.UUID(port.meta.id).bytes
    port.spec.network_id = network_id
    port.spec.mac_address = "fa:16:3e:" + raw[:3].hex(":")
    port.spec.admin_state_up = True
    port.spec.device_owner = owner
    port.spec.port_security_enabled = secure
    port.spec.security_group_ids.extend(groups or [])
    for subnet, address in addresses:
        port.spec.fixed_ips.add(subnet_id=subnet.meta.id, ip_address=address)
    return port


def a_group(*rules: dict[str, object], group_id: str) -> security_group_pb2.SecurityGroupWant:
    want = security_group_pb2.SecurityGroupWant()
    want.security_group.meta.id = group_id
    want.security_group.spec.stateful = True
    for fields in rules:
        rule = want.rules.add()
        rule.meta.id = str(uuid.uuid4())
        rule.spec.MergeFrom(
            security_group_pb2.SecurityGroupRuleSpec(security_group_id=group_id, **fields)  # type: ignore[arg-type]
        )
    return want


def a_policy(policy_id: str, **rules: dict[str, object]) -> qos_pb2.QosPolicyWant:
    """rules: by type, or by type and direction (bandwidth_limit__ingress)."""
    want = qos_pb2.QosPolicyWant()
    want.qos_policy.meta.id = policy_id
    for key, spec in rules.items():
        kind, _, direction = key.partition("__")
        rule = want.rules.add()
        rule.meta.id = str(uuid.uuid4())
        rule.spec.CopyFrom(
            qos_pb2.QosRuleSpec(policy_id=policy_id, type=kind, direction=direction or "egress", **spec)  # type: ignore[arg-type]
        )
    return want


def a_router(*ports: router_pb2.RouterPort) -> router_pb2.RouterWant:
    want = router_pb2.RouterWant(ports=ports)
    want.router.meta.id = str(uuid.uuid4())
    want.router.meta.generation = 1
    want.router.spec.admin_state_up = True
    for port in ports:
        if port.gateway:
            gateway = want.router.spec.external_gateways.add(enable_snat=port.snat)
            gateway.network_id, gateway.port_id = port.network.meta.id, port.port.meta.id
    return want


def a_router_port(
    network: network_pb2.NetworkWant, *addresses: str, gateway: bool = False, snat: bool = True
) -> router_pb2.RouterPort:
    """addresses: one in each of the network's subnets."""
    owner = "network:router_gateway" if gateway else "network:router_interface"
    port = a_port(
        network.network.meta.id, list(zip(network.subnets, addresses, strict=True)), owner=owner, secure=False
    )
    return router_pb2.RouterPort(
        port=port, network=network.network, subnets=network.subnets, gateway=gateway, snat=gateway and snat
    )


def translate(want: router_pb2.RouterWant, gateway: router_pb2.RouterPort, floating: str, fixed: str) -> None:
    """Add a floating IP."""
    added = want.floating_ips.add()
    added.meta.id = str(uuid.uuid4())
    added.spec.floating_network_id = gateway.network.meta.id
    added.spec.floating_ip_address, added.spec.fixed_ip_address = floating, fixed
    added.spec.port_id = str(uuid.uuid4()) if fixed else ""
