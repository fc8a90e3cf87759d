"""What operators see and change: nodes, services, aggregates, zones, quotas, flavors."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.functional.compute.api import Compute
from tests.processes import ProcessCloud, wait_for

ZONE = {"aggregate": {"name": "rack", "availability_zone": "z1"}}


@contextmanager
def quota(admin: Compute, project: str, **limits: int) -> Iterator[None]:
    admin.call("PUT", f"/os-quota-sets/{project}", {"quota_set": limits})
    yield
    admin.call("DELETE", f"/os-quota-sets/{project}")


def test_a_dead_node_is_down(cloud: ProcessCloud, admin: Compute, demo: Compute) -> None:
    def state(at: str = "state") -> str:
        services = admin.call("GET", "/os-services?binary=nova-compute")["services"]
        return str(services[0][at])

    assert state() == "up"
    seen = state("updated_at")
    wait_for(lambda: state("updated_at") > seen, 30, "a younger life sign")
    cloud.kill("agent")
    try:
        wait_for(lambda: state() == "down", 30, "the node to be down")
        wait_for(lambda: state("updated_at") != "None", 30, "its end to be noted")
        assert seen < state("updated_at") == state("updated_at")
    finally:
        cloud.start_process("agent")
    wait_for(lambda: state() == "up", 30, "the node to be up")


def test_a_disabled_node_takes_no_servers(admin: Compute, demo: Compute) -> None:
    host = {"host": "node1", "binary": "nova-compute"}
    admin.call("PUT", "/os-services/disable-log-reason", {**host, "disabled_reason": "broken"})
    try:
        (service,) = admin.call("GET", "/os-services?host=node1")["services"]
        assert (service["status"], service["disabled_reason"]) == ("disabled", "broken")
        id_ = demo.create()
        demo.settle(id_, "ERROR")
        assert "node1 (it is disabled)" in demo.show(id_)["fault"]["message"]
    finally:
        admin.call("PUT", "/os-services/enable", host)
    demo.boot()


def test_a_node_takes_servers_of_networks_that_it_reaches(admin: Compute, demo: Compute) -> None:
    flat = {"provider:network_type": "flat", "provider:physical_network": "far"}
    body = {"network": {"name": "far", "shared": True, "mtu": 1450, **flat}}
    network = admin.http.call("POST", "/network/v2.0/networks", body)["network"]["id"]
    try:
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/24"}
        admin.http.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
        id_ = demo.create(networks=[{"uuid": network}])
        demo.settle(id_, "ERROR")
        assert f"node1 (it does not reach network {network})" in demo.show(id_)["fault"]["message"]
        segment = {"network_id": network, "network_type": "vxlan"}
        admin.http.call("POST", "/network/v2.0/segments", {"segment": segment})
        demo.boot(networks=[{"uuid": network}])
        demo.clean()
    finally:
        admin.http.call("DELETE", f"/network/v2.0/networks/{network}")


def test_a_server_gives_its_port_the_addresses_that_waited_for_a_node(admin: Compute, demo: Compute) -> None:
    body = {"network": {"name": "routed", "shared": True}}
    network = admin.http.call("POST", "/network/v2.0/networks", body)["network"]["id"]
    try:
        path = f"/network/v2.0/segments?network_id={network}"
        (segment,) = admin.http.call("GET", path)["segments"]
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.9.1.0/24", "segment_id": segment["id"]}
        admin.http.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
        port = demo.http.call("POST", "/network/v2.0/ports", {"port": {"network_id": network}})["port"]
        assert port["ip_allocation"] == "deferred"
        id_ = demo.boot(networks=[{"port": port["id"]}])
        found = demo.http.call("GET", f"/network/v2.0/ports/{port['id']}")["port"]
        assert demo.addresses(id_) == [fixed["ip_address"] for fixed in found["fixed_ips"]]
        assert found["ip_allocation"] == "immediate"
        demo.clean()
        demo.http.call("DELETE", f"/network/v2.0/ports/{port['id']}")
    finally:
        admin.http.call("DELETE", f"/network/v2.0/networks/{network}")


def test_hypervisors_count_what_is_on_them(admin: Compute, demo: Compute) -> None:
    (before,) = admin.call("GET", "/os-hypervisors/detail")["hypervisors"]
    demo.boot()
    (after,) = admin.call("GET", "/os-hypervisors/detail")["hypervisors"]
    assert after["vcpus_used"] == before["vcpus_used"] + 1
    assert after["running_vms"] == before["running_vms"] + 1
    path = f"/os-hypervisors/{after['id']}"
    assert admin.call("GET", path)["hypervisor"]["hypervisor_hostname"] == "node1"
    assert demo.refused("GET", "/os-hypervisors")[0] == 403


def test_an_aggregate_makes_a_zone(admin: Compute, demo: Compute) -> None:
    made = admin.call("POST", "/os-aggregates", ZONE)["aggregate"]
    path = f"/os-aggregates/{made['id']}"
    try:
        admin.call("POST", f"{path}/action", {"add_host": {"host": "node1"}})
        zones = demo.call("GET", "/os-availability-zone")["availabilityZoneInfo"]
        assert [zone["zoneName"] for zone in zones] == ["z1"]
        id_ = demo.boot(availability_zone="z1")
        assert demo.show(id_)["OS-EXT-AZ:availability_zone"] == "z1"
        message = admin.refused("POST", f"{path}/action", {"remove_host": {"host": "node1"}})
        assert message[0] == 409
        demo.clean()
        assert admin.refused("DELETE", path)[0] == 400
    finally:
        admin.call("POST", f"{path}/action", {"remove_host": {"host": "node1"}})
        admin.call("DELETE", path)
    assert admin.refused("GET", path)[0] == 404


def test_a_quota_holds_and_is_told(admin: Compute, demo: Compute) -> None:
    project = demo.http.project_id
    with quota(admin, project, instances=1, cores=5):
        demo.boot()
        assert demo.refused("POST", "/servers", {"server": demo.wish()})[0] == 403
        limits = demo.call("GET", "/limits")["limits"]["absolute"]
        assert (limits["maxTotalInstances"], limits["totalInstancesUsed"]) == (1, 1)
        detail = demo.call("GET", f"/os-quota-sets/{project}/detail")["quota_set"]
        assert detail["cores"] == {"limit": 5, "in_use": 1, "reserved": 0}
        below = {"quota_set": {"instances": 0}}
        assert admin.refused("PUT", f"/os-quota-sets/{project}", below)[0] == 400
    assert demo.call("GET", f"/os-quota-sets/{project}")["quota_set"]["instances"] == 10
    assert demo.refused("PUT", f"/os-quota-sets/{project}", {"quota_set": {"cores": 99}})[0] == 403


def test_a_users_own_quota_holds(admin: Compute, demo: Compute) -> None:
    path = f"/os-quota-sets/{demo.http.project_id}?user_id={demo.http.user_id}"
    admin.call("PUT", path, {"quota_set": {"instances": 1}})
    try:
        demo.boot()
        assert demo.refused("POST", "/servers", {"server": demo.wish()})[0] == 403
    finally:
        admin.call("DELETE", path)
    demo.boot()


def test_default_quotas_hold_for_all(admin: Compute, demo: Compute) -> None:
    body = {"quota_class_set": {"server_groups": 0}}
    admin.call("PUT", "/os-quota-class-sets/default", body, version="2.50")
    group = {"server_group": {"name": "g", "policies": ["affinity"]}}
    try:
        assert demo.refused("POST", "/os-server-groups", group)[0] == 403
    finally:
        body["quota_class_set"]["server_groups"] = 10
        admin.call("PUT", "/os-quota-class-sets/default", body, version="2.50")
    id_ = demo.call("POST", "/os-server-groups", group)["server_group"]["id"]
    demo.call("DELETE", f"/os-server-groups/{id_}")


def test_an_anti_affinity_group_never_shares_a_node(demo: Compute) -> None:
    body = {"server_group": {"name": "g", "policies": ["anti-affinity"]}}
    group = demo.call("POST", "/os-server-groups", body)["server_group"]["id"]
    ids = []
    for _ in range(2):
        whole = {"server": demo.wish(), "os:scheduler_hints": {"group": group}}
        ids.append(demo.call("POST", "/servers", whole)["server"]["id"])
    demo.settle(ids[0], "ACTIVE")
    demo.settle(ids[1], "ERROR")
    assert "ServerGroupAntiAffinity" in demo.show(ids[1])["fault"]["message"]
    members = demo.call("GET", f"/os-server-groups/{group}")["server_group"]["members"]
    assert sorted(members) == sorted(ids)
    demo.call("DELETE", f"/os-server-groups/{group}")


def test_a_private_flavor_is_for_those_with_access(admin: Compute, demo: Compute) -> None:
    flavor = {"name": "own", "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
    id_ = admin.call("POST", "/flavors", {"flavor": flavor})["flavor"]["id"]
    try:
        assert demo.refused("GET", f"/flavors/{id_}")[0] == 404
        grant = {"tenant": demo.http.project_id}
        admin.call("POST", f"/flavors/{id_}/action", {"addTenantAccess": grant})
        assert demo.call("GET", f"/flavors/{id_}")["flavor"]["name"] == "own"
        assert admin.refused("POST", f"/flavors/{id_}/action", {"addTenantAccess": grant})[0] == 409
        admin.call("POST", f"/flavors/{id_}/action", {"removeTenantAccess": grant})
        assert demo.refused("GET", f"/flavors/{id_}")[0] == 404
    finally:
        admin.call("DELETE", f"/flavors/{id_}")


def test_extra_specs_change_one_by_one(admin: Compute, demo: Compute) -> None:
    base = f"/flavors/{demo.flavor}/os-extra_specs"
    admin.call("POST", base, {"extra_specs": {"hw:a": "1", "hw:b": "2"}})
    admin.call("PUT", f"{base}/hw:a", {"hw:a": "3"})
    admin.call("DELETE", f"{base}/hw:b")
    assert demo.call("GET", base)["extra_specs"] == {"hw:a": "3"}
    assert demo.refused("POST", base, {"extra_specs": {"x": "1"}})[0] == 403
    admin.call("DELETE", f"{base}/hw:a")


def test_keypairs_are_made_and_imported(demo: Compute) -> None:
    made = demo.call("POST", "/os-keypairs", {"keypair": {"name": "made"}})["keypair"]
    assert made["private_key"].startswith("-----BEGIN")
    body = {"keypair": {"name": "taken", "public_key": made["public_key"]}}
    taken = demo.call("POST", "/os-keypairs", body, version="2.2")["keypair"]
    assert taken["fingerprint"] == made["fingerprint"]
    assert "private_key" not in taken
    assert demo.refused("POST", "/os-keypairs", body)[0] == 409
    page = demo.call("GET", "/os-keypairs?limit=1", version="2.35")
    assert [entry["keypair"]["name"] for entry in page["keypairs"]] == ["made"]
    for name in ("made", "taken"):
        demo.call("DELETE", f"/os-keypairs/{name}")


def test_usage_is_told_of_what_runs(demo: Compute) -> None:
    id_ = demo.boot()
    usage = demo.call("GET", f"/os-simple-tenant-usage/{demo.http.project_id}")["tenant_usage"]
    assert [entry["instance_id"] for entry in usage["server_usages"]] == [id_]
    assert demo.refused("GET", "/os-simple-tenant-usage")[0] == 403


def test_versions_and_microversions_are_negotiated(demo: Compute) -> None:
    found = demo.http.call("GET", "/compute/")["versions"]
    assert [(v["id"], v["version"]) for v in found] == [("v2.0", ""), ("v2.1", "2.96")]
    _, headers, _ = demo.http.exchange(
        "GET", "/compute/v2.1/flavors", None, {"OpenStack-API-Version": "compute latest"}
    )
    assert headers["openstack-api-version"] == "compute 2.96"
    assert demo.status("GET", "/flavors", version="9.1") == 406
    assert demo.status("GET", "/flavors", version="x") == 400


def test_an_extra_spec_that_no_aggregate_has_is_named_and_then_had(admin: Compute, demo: Compute) -> None:
    flavor = {"name": "ssd", "vcpus": 1, "ram": 64, "disk": 1}
    id_ = admin.call("POST", "/flavors", {"flavor": flavor})["flavor"]["id"]
    wanted = {"extra_specs": {"aggregate_instance_extra_specs:ssd": "<or> true <or> yes"}}
    admin.call("POST", f"/flavors/{id_}/os-extra_specs", wanted)
    server = demo.create(flavorRef=id_)
    demo.settle(server, "ERROR")
    message = demo.show(server)["fault"]["message"]
    assert "AggregateInstanceExtraSpecs removed node1 (no aggregate of it has ssd" in message
    made = admin.call("POST", "/os-aggregates", {"aggregate": {"name": "fast"}})["aggregate"]
    path = f"/os-aggregates/{made['id']}"
    try:
        admin.call("POST", f"{path}/action", {"add_host": {"host": "node1"}})
        admin.call("POST", f"{path}/action", {"set_metadata": {"metadata": {"ssd": "yes,maybe"}}})
        demo.boot(flavorRef=id_)
    finally:
        admin.call("POST", f"{path}/action", {"remove_host": {"host": "node1"}})
        admin.call("DELETE", path)
        admin.call("DELETE", f"/flavors/{id_}")


def test_an_aggregates_ratio_becomes_the_nodes_limit(admin: Compute, demo: Compute) -> None:
    made = admin.call("POST", "/os-aggregates", {"aggregate": {"name": "thin"}})["aggregate"]
    path = f"/os-aggregates/{made['id']}"

    def fails() -> bool:
        id_ = demo.create()
        wait_for(lambda: demo.show(id_)["status"] != "BUILD", 30, "an end")
        server = demo.show(id_)
        demo.call("DELETE", f"/servers/{id_}")
        return server["status"] == "ERROR" and "short of" in server["fault"]["message"]

    admin.call("POST", f"{path}/action", {"add_host": {"host": "node1"}})
    try:
        admin.call(
            "POST", f"{path}/action", {"set_metadata": {"metadata": {"cpu_allocation_ratio": "0.000001"}}}
        )
        assert fails()
    finally:
        admin.call("POST", f"{path}/action", {"remove_host": {"host": "node1"}})
        admin.call("DELETE", path)
    wait_for(lambda: not fails(), 30, "room again")


def test_only_administrators_request_a_node(admin: Compute, demo: Compute) -> None:
    body = {"server": demo.wish(host="node1")}
    assert demo.refused("POST", "/servers", body, version="2.74")[0] == 403
    body = {"server": admin.wish(availability_zone="::elsewhere")}
    assert admin.refused("POST", "/servers", body)[0] == 400
