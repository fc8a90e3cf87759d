"""What servers need: a network, a subnet, a group that lets something in, a port."""

from tests.functional.network.harness import Cloud


async def test_the_thin_path(cloud: Cloud) -> None:
    network = await cloud.make("network", name="demo")
    subnet = await cloud.make("subnet", name="v4", network_id=network["id"], ip_version=4, cidr="10.1.0.0/24")
    assert subnet["gateway_ip"] == "10.1.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.1.0.2", "end": "10.1.0.254"}]
    assert subnet["enable_dhcp"] is True
    assert (await cloud.show("network", network["id"]))["subnets"] == [subnet["id"]]
    (group,) = await cloud.find("security_group", "name=default&project_id=p1")
    assert len(group["security_group_rules"]) == 4
    rule = await cloud.make(
        "security_group_rule",
        security_group_id=group["id"],
        direction="ingress",
        protocol="tcp",
        port_range_min=22,
        port_range_max="22",
    )
    assert (rule["ethertype"], rule["port_range_max"], rule["remote_ip_prefix"]) == ("IPv4", 22, None)
    port = await cloud.make("port", network_id=network["id"])
    assert port["status"] == "DOWN"
    assert port["security_groups"] == [group["id"]]
    assert [fixed["subnet_id"] for fixed in port["fixed_ips"]] == [subnet["id"]]
    assert port["admin_state_up"] is True
    assert "binding:host_id" not in port
    await cloud.put("port", port["id"], name="renamed", admin_state_up=False)
    assert [p["name"] for p in await cloud.find("port", f"network_id={network['id']}")] == ["renamed"]
    await cloud.refused(409, "NetworkInUse", "DELETE", f"/networks/{network['id']}")
    await cloud.delete("port", port["id"])
    await cloud.refused(404, "PortNotFound", "GET", f"/ports/{port['id']}")
    await cloud.delete("security_group_rule", rule["id"])
    await cloud.delete("subnet", subnet["id"])
    await cloud.delete("network", network["id"])


async def test_what_is_given_although_it_looks_unset(cloud: Cloud) -> None:
    network = await cloud.make("network", name="down", admin_state_up=False, port_security_enabled=False)
    assert (network["admin_state_up"], network["port_security_enabled"]) == (False, False)
    subnet = await cloud.make(
        "subnet",
        network_id=network["id"],
        ip_version="4",
        cidr="10.1.0.0/24",
        gateway_ip=None,
        enable_dhcp=False,
    )
    assert (subnet["gateway_ip"], subnet["enable_dhcp"]) == (None, False)
    port = await cloud.make("port", network_id=network["id"], fixed_ips=[], admin_state_up=False)
    assert (port["fixed_ips"], port["admin_state_up"]) == ([], False)
    assert port["port_security_enabled"] is False
    assert port["security_groups"] == []
    secured = await cloud.make("port", network_id=network["id"], port_security_enabled=True)
    assert len(secured["security_groups"]) == 1
    empty = await cloud.make("port", network_id=network["id"], port_security_enabled=True, security_groups=[])
    assert empty["security_groups"] == []
    group = await cloud.make("security_group", name="loose", stateful=False)
    assert group["stateful"] is False
