"""A server tells the addresses outside that lead to it."""

from tests.functional.compute.api import Compute


def test_a_server_is_reached_from_outside_by_a_floating_ip_only(demo: Compute, admin: Compute) -> None:
    outer = admin.http.call(
        "POST", "/network/v2.0/networks", {"network": {"name": "public", "router:external": True}}
    )["network"]["id"]
    subnet = {"network_id": outer, "ip_version": 4, "cidr": "172.24.4.0/24", "enable_dhcp": False}
    admin.http.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
    wish = {"server": demo.wish(networks=[{"uuid": outer}])}
    assert demo.refused("POST", "/servers", wish)[0] == 403
    inner = demo.http.call("GET", f"/network/v2.0/subnets?network_id={demo.network}")["subnets"][0]
    asked = {"router": {"external_gateway_info": {"network_id": outer}}}
    router = demo.http.call("POST", "/network/v2.0/routers", asked)["router"]["id"]
    path = f"/network/v2.0/routers/{router}"
    demo.http.call("PUT", f"{path}/add_router_interface", {"subnet_id": inner["id"]})
    id_ = demo.boot()
    (port,) = demo.http.call("GET", f"/network/v2.0/ports?device_id={id_}")["ports"]
    lead = {"floatingip": {"floating_network_id": outer, "port_id": port["id"]}}
    floating = demo.http.call("POST", "/network/v2.0/floatingips", lead)["floatingip"]
    assert floating["floating_ip_address"].startswith("172.24.4.")

    def kinds(addresses: dict[str, list[dict[str, str]]]) -> dict[str, str]:
        (entries,) = addresses.values()
        return {entry["OS-EXT-IPS:type"]: entry["addr"] for entry in entries}

    expected = {
        "fixed": port["fixed_ips"][0]["ip_address"],
        "floating": floating["floating_ip_address"],
    }
    assert kinds(demo.show(id_)["addresses"]) == expected
    (listed,) = demo.call("GET", "/servers/detail")["servers"]
    assert kinds(listed["addresses"]) == expected
    assert len(demo.call("GET", f"/servers/{id_}/ips")["addresses"]["net"]) == 2
    demo.act(id_, "removeFloatingIp", {"address": floating["floating_ip_address"]})
    old = demo.call("GET", f"/os-floating-ips/{floating['id']}")["floating_ip"]
    assert (old["pool"], old["instance_id"], old["fixed_ip"]) == ("public", None, None)
    again = {"removeFloatingIp": {"address": floating["floating_ip_address"]}}
    assert demo.refused("POST", f"/servers/{id_}/action", again)[0] == 409
    demo.act(id_, "addFloatingIp", {"address": floating["floating_ip_address"]})
    (old,) = demo.call("GET", "/os-floating-ips")["floating_ips"]
    assert (old["instance_id"], old["fixed_ip"]) == (id_, expected["fixed"])
    made = demo.call("POST", "/os-floating-ips", {"pool": "public"})["floating_ip"]
    second = {"addFloatingIp": {"address": made["ip"]}}
    assert demo.refused("POST", f"/servers/{id_}/action", second)[0] == 400
    demo.call("DELETE", f"/os-floating-ips/{made['id']}")
    assert demo.status("POST", "/os-floating-ips", {"pool": "elsewhere"}) == 404
    assert demo.status("GET", "/os-floating-ips", version="2.36") == 404
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    found = demo.http.call("GET", f"/network/v2.0/floatingips/{floating['id']}")["floatingip"]
    assert (found["port_id"], found["router_id"]) == (None, None)
    demo.http.call("DELETE", f"/network/v2.0/floatingips/{floating['id']}")
    demo.http.call("PUT", f"{path}/remove_router_interface", {"subnet_id": inner["id"]})
    demo.http.call("DELETE", path)
