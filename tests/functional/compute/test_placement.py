"""The Placement API: compute nodes as providers, what servers take of them, and what operators add."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openstack
import orjson
import pytest

from tests.functional.compute.api import Compute
from tests.http_client import Http
from tests.processes import PASSWORD, ProcessCloud

VERSION = "1.39"


class Placement:
    """Calls of one caller."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def ask(self, method: str, path: str, body: Any = None, *, version: str = VERSION) -> tuple[int, Any]:
        """Status and JSON."""
        headers = {"OpenStack-API-Version": f"placement {version}"}
        status, _, data = self._http.exchange(method, f"/placement{path}", body, headers)
        return status, orjson.loads(data) if data else None

    def call(self, method: str, path: str, body: Any = None, *, version: str = VERSION) -> Any:
        """The JSON of a call that succeeds."""
        status, told = self.ask(method, path, body, version=version)
        assert status < 400, told
        return told

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and code of a call that must be refused."""
        status, told = self.ask(method, path, body)
        assert status >= 400, told
        (error,) = told["errors"]
        assert error["status"] == status
        return status, error["code"]

    def node(self) -> str:
        """The one compute node."""
        (found,) = self.call("GET", "/resource_providers?name=node1")["resource_providers"]
        return str(found["uuid"])

    def provider(self, **inventories: int) -> str:
        """A new provider with these totals."""
        name = str(uuid.uuid4())
        made = self.call("POST", "/resource_providers", {"name": name})
        assert made["generation"] == 0
        sizes = {name: {"total": total} for name, total in inventories.items()}
        body = {"inventories": sizes, "resource_provider_generation": 0}
        self.call("PUT", f"/resource_providers/{made['uuid']}/inventories", body)
        return str(made["uuid"])

    def add(self, provider: str, part: str, *names: str) -> None:
        """Give it traits or aggregates."""
        seen = self.generation(provider)
        body = {part: list(names), "resource_provider_generation": seen}
        self.call("PUT", f"/resource_providers/{provider}/{part}", body)

    def generation(self, provider: str) -> int:
        """As the next change must know it."""
        return int(self.call("GET", f"/resource_providers/{provider}")["generation"])

    def forget(self, *providers: str) -> None:
        """Delete them, with what is taken of them."""
        for provider in providers:
            for consumer in self.call("GET", f"/resource_providers/{provider}/allocations")["allocations"]:
                self.call("DELETE", f"/allocations/{consumer}")
            self.call("DELETE", f"/resource_providers/{provider}")

    def take(self, consumer: str, seen: int | None, **taken: dict[str, int]) -> tuple[int, Any]:
        """Allocate: provider -> class -> amount."""
        body = {
            "allocations": {provider: {"resources": amounts} for provider, amounts in taken.items()},
            "consumer_generation": seen,
            "project_id": "p",
            "user_id": "u",
            "consumer_type": "TEST",
        }
        return self.ask("PUT", f"/allocations/{consumer}", body)


@pytest.fixture
def placement(admin: Compute) -> Placement:
    return Placement(admin.http)


def test_a_server_is_a_consumer_of_its_node(placement: Placement, demo: Compute) -> None:
    node, id_ = placement.node(), demo.boot()
    told = placement.call("GET", f"/allocations/{id_}")
    assert told["allocations"][node]["resources"].keys() >= {"VCPU", "MEMORY_MB"}
    assert told["consumer_type"] == "INSTANCE"
    taken = placement.call("GET", f"/resource_providers/{node}/allocations")["allocations"]
    used = placement.call("GET", f"/resource_providers/{node}/usages")["usages"]
    assert used["VCPU"] == sum(entry["resources"].get("VCPU", 0) for entry in taken.values())
    of_project = placement.call("GET", f"/usages?project_id={told['project_id']}")["usages"]
    assert of_project["INSTANCE"]["consumer_count"] >= 1
    body = {
        "allocations": {},
        "consumer_generation": 1,
        "project_id": "p",
        "user_id": "u",
        "consumer_type": "A",
    }
    assert placement.refused("PUT", f"/allocations/{id_}", body)[0] == 409
    assert placement.refused("DELETE", f"/allocations/{id_}")[0] == 409
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    assert placement.call("GET", f"/allocations/{id_}") == {"allocations": {}}


def test_an_operators_ratio_is_the_limit_of_the_node(placement: Placement, demo: Compute) -> None:
    node = placement.node()
    path = f"/resource_providers/{node}/inventories/MEMORY_MB"
    before = placement.call("GET", path)
    small = before | {"allocation_ratio": 0.0000001}
    stale = small | {"resource_provider_generation": before["resource_provider_generation"] + 7}
    assert placement.refused("PUT", path, stale) == (409, "placement.concurrent_update")
    placement.call("PUT", path, small)
    try:
        assert placement.call("GET", path)["allocation_ratio"] == 0.0000001
        id_ = demo.create()
        demo.settle(id_, "ERROR")
        assert "MEMORY_MB short of" in demo.show(id_)["fault"]["message"]
    finally:
        now = placement.call("GET", path)["resource_provider_generation"]
        placement.call("DELETE", f"/resource_providers/{node}/inventories/MEMORY_MB")
        assert placement.call("GET", path)["resource_provider_generation"] > now
    assert placement.call("GET", path)["allocation_ratio"] == before["allocation_ratio"]
    demo.boot()


def test_what_a_flavor_requires_of_its_node_is_placements_word(
    placement: Placement, admin: Compute, demo: Compute
) -> None:
    node = placement.node()
    assert placement.ask("PUT", "/traits/CUSTOM_FAST")[0] == 201
    assert placement.ask("PUT", "/traits/CUSTOM_FAST")[0] == 204
    assert placement.ask("PUT", "/resource_classes/CUSTOM_CARD")[0] == 201
    flavor = admin.call("POST", "/flavors", {"flavor": {"name": "card", "vcpus": 1, "ram": 64, "disk": 1}})
    id_ = flavor["flavor"]["id"]
    specs = {"trait:CUSTOM_FAST": "required", "resources:CUSTOM_CARD": "1"}
    admin.call("POST", f"/flavors/{id_}/os-extra_specs", {"extra_specs": specs})
    server = demo.create(flavorRef=id_)
    demo.settle(server, "ERROR")
    assert "lacks the trait CUSTOM_FAST" in demo.show(server)["fault"]["message"]
    path = f"/resource_providers/{node}"
    told = placement.call("GET", f"{path}/traits")
    told["traits"].append("CUSTOM_FAST")
    seen = placement.call("PUT", f"{path}/traits", told)["resource_provider_generation"]
    body = {"resource_class": "CUSTOM_CARD", "total": 1, "resource_provider_generation": seen}
    assert placement.call("POST", f"{path}/inventories", body)["total"] == 1
    asked = "resources=VCPU:1,CUSTOM_CARD:1&required=CUSTOM_FAST"
    assert placement.call("GET", f"/allocation_candidates?{asked}")["provider_summaries"].keys() == {node}
    server = demo.boot(flavorRef=id_)
    assert (
        placement.call("GET", f"/allocations/{server}")["allocations"][node]["resources"]["CUSTOM_CARD"] == 1
    )
    assert placement.call("GET", f"/allocation_candidates?{asked}")["allocation_requests"] == []
    second = demo.create(flavorRef=id_)
    demo.settle(second, "ERROR")
    assert "1 CUSTOM_CARD short of 1" in demo.show(second)["fault"]["message"]
    assert placement.refused("DELETE", f"{path}/inventories/CUSTOM_CARD") == (
        409,
        "placement.inventory.inuse",
    )
    assert placement.refused("DELETE", "/traits/CUSTOM_FAST")[0] == 409
    demo.clean()
    placement.call("DELETE", f"{path}/inventories/CUSTOM_CARD")
    placement.call("DELETE", f"{path}/traits")
    placement.call("DELETE", "/traits/CUSTOM_FAST")
    placement.call("DELETE", "/resource_classes/CUSTOM_CARD")
    admin.call("DELETE", f"/flavors/{id_}")


def test_a_provider_never_gives_more_than_it_has(placement: Placement) -> None:
    provider = placement.provider(VCPU=4, DISK_GB=10)
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    assert placement.take(first, None, **{provider: {"VCPU": 3}})[0] == 204
    status, told = placement.take(second, None, **{provider: {"VCPU": 2}})
    assert (status, told["errors"][0]["code"]) == (409, "placement.undefined_code")
    assert "1 VCPU short of 2" in told["errors"][0]["detail"]
    status, told = placement.take(first, None, **{provider: {"VCPU": 4}})
    assert (status, told["errors"][0]["code"]) == (409, "placement.concurrent_update")
    assert placement.take(first, 1, **{provider: {"VCPU": 4}})[0] == 204
    assert placement.call("GET", f"/resource_providers/{provider}/usages")["usages"] == {
        "DISK_GB": 0,
        "VCPU": 4,
    }
    path = f"/resource_providers/{provider}"
    assert placement.refused("DELETE", path) == (409, "placement.resource_provider.inuse")
    assert placement.refused("DELETE", f"{path}/inventories/VCPU") == (409, "placement.inventory.inuse")
    twice = {provider: {"VCPU": 1}, provider.replace("-", ""): {"VCPU": 1}}
    assert placement.take(second, None, **twice)[0] == 400
    assert placement.take(first, 2)[0] == 204  # of nothing: it goes
    assert placement.refused("DELETE", f"/allocations/{first}")[0] == 404
    placement.call("DELETE", path)
    assert placement.refused("GET", path) == (404, "placement.resource_provider.not_found")


def test_candidates_are_looked_for_in_trees(placement: Placement) -> None:
    top = placement.provider(DISK_GB=10)
    child = {"name": "numa0", "parent_provider_uuid": top}
    low = placement.call("POST", "/resource_providers", child)
    assert low["root_provider_uuid"] == top
    body = {"inventories": {"SRIOV_NET_VF": {"total": 2}}, "resource_provider_generation": 0}
    placement.call("PUT", f"/resource_providers/{low['uuid']}/inventories", body)
    asked = f"/allocation_candidates?resources=DISK_GB:5&resources1=SRIOV_NET_VF:2&in_tree={top}"
    told = placement.call("GET", asked)
    (request,) = told["allocation_requests"]
    assert request["mappings"] == {"": [top], "1": [low["uuid"]]}
    consumer = str(uuid.uuid4())
    body = {
        **request,
        "consumer_generation": None,
        "project_id": "p",
        "user_id": "u",
        "consumer_type": "TEST",
    }
    assert placement.ask("PUT", f"/allocations/{consumer}", body)[0] == 204
    assert placement.call("GET", asked)["allocation_requests"] == []
    path = f"/resource_providers/{top}"
    assert placement.refused("DELETE", path) == (409, "placement.resource_provider.cannot_delete_parent")
    placement.call("DELETE", f"/allocations/{consumer}")
    placement.call("DELETE", f"/resource_providers/{low['uuid']}")
    placement.call("DELETE", path)


def test_storage_is_shared_by_an_aggregate(placement: Placement) -> None:
    node, disk, aggregate = placement.provider(VCPU=4), placement.provider(DISK_GB=100), uuid.uuid4().hex
    asked = f"/allocation_candidates?resources=VCPU:1,DISK_GB:10&member_of={aggregate}"
    for provider in (node, disk):
        placement.add(provider, "aggregates", aggregate)
        assert placement.call("GET", f"/resource_providers/{provider}/aggregates")["aggregates"] == [
            aggregate
        ]
    assert placement.call("GET", asked)["allocation_requests"] == []
    placement.add(disk, "traits", "MISC_SHARES_VIA_AGGREGATE")
    told = placement.call("GET", asked)
    (request,) = told["allocation_requests"]
    assert request["mappings"] == {"": sorted([node, disk])}
    assert told["provider_summaries"].keys() == {node, disk}
    assert placement.call("GET", f"{asked}&root_required=!COMPUTE_NODE")["allocation_requests"] == [request]
    assert placement.call("GET", f"{asked}&root_required=COMPUTE_NODE")["allocation_requests"] == []
    placement.forget(node, disk)


def test_groups_may_have_to_be_near_each_other(placement: Placement) -> None:
    top = placement.provider()
    children = [placement.provider(VGPU=1), placement.provider(VGPU=1, PGPU=1)]
    for child in children:
        seen, body = placement.generation(child), {"name": child, "parent_provider_uuid": top}
        assert placement.call("PUT", f"/resource_providers/{child}", body)["generation"] == seen
    asked = f"/allocation_candidates?resources_G=VGPU:1&resources_P=PGPU:1&group_policy=none&in_tree_G={top}"
    assert len(placement.call("GET", asked)["allocation_requests"]) == 2
    (near,) = placement.call("GET", f"{asked}&same_subtree=_G,_P")["allocation_requests"]
    assert near["allocations"].keys() == {children[1]}
    assert placement.refused("GET", f"{asked}&same_subtree=_G,_X") == (400, "placement.query.bad_value")
    placement.forget(*children, top)


def test_what_is_taken_changes_the_generation_of_the_provider(placement: Placement) -> None:
    provider, consumer = placement.provider(VCPU=4), str(uuid.uuid4())
    seen = placement.generation(provider)
    assert placement.take(consumer, None, **{provider: {"VCPU": 3}})[0] == 204
    path = f"/resource_providers/{provider}/inventories/VCPU"
    stale = {"total": 2, "resource_provider_generation": seen}
    assert placement.refused("PUT", path, stale) == (409, "placement.concurrent_update")
    told = placement.call("PUT", path, stale | {"resource_provider_generation": seen + 1})
    assert told["total"] == 2  # less than is taken: nothing more is given
    assert placement.take(str(uuid.uuid4()), None, **{provider: {"VCPU": 1}})[0] == 409
    placement.forget(provider)


def test_many_take_of_one_provider_at_once(placement: Placement, admin: Compute, cloud: ProcessCloud) -> None:
    provider = placement.provider(VCPU=12)

    def take() -> int:
        with Http(cloud.url) as http:
            http.token = admin.http.token
            return Placement(http).take(str(uuid.uuid4()), None, **{provider: {"VCPU": 1}})[0]

    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(future.result() for future in [pool.submit(take) for _ in range(16)])
    assert statuses == [204] * 12 + [409] * 4
    placement.forget(provider)


def test_what_is_in_use_moves_to_a_child_at_once(placement: Placement, admin: Compute) -> None:
    top, child = placement.provider(VCPU=4, DISK_GB=10), placement.provider()
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    assert placement.take(first, None, **{top: {"VCPU": 3, "DISK_GB": 1}})[0] == 204
    assert placement.take(second, None, **{top: {"VCPU": 1}})[0] == 204

    def body(vcpus: int, **taken: Any) -> Any:
        owner = {"project_id": "p", "user_id": "u", "consumer_type": "TEST", "consumer_generation": 1}
        return {
            "inventories": {
                provider: {
                    "inventories": inventories,
                    "resource_provider_generation": placement.generation(provider),
                }
                for provider, inventories in (
                    (top, {"DISK_GB": {"total": 10}}),
                    (child, {"VCPU": {"total": vcpus}}),
                )
            },
            "allocations": {
                consumer: {"allocations": {p: {"resources": r} for p, r in parts.items()}} | owner
                for consumer, parts in taken.items()
            },
        }

    moved = {first: {child: {"VCPU": 3}, top: {"DISK_GB": 1}}, second: {child: {"VCPU": 1}}}
    assert placement.refused("POST", "/reshaper", body(4, **moved))[0] == 403  # it is for services
    roles = admin.http.call("GET", "/identity/v3/roles?name=service")["roles"]
    grant = f"/projects/{admin.http.project_id}/users/{admin.http.user_id}/roles/{roles[0]['id']}"
    admin.http.call("PUT", f"/identity/v3{grant}")
    admin.http.login("admin", PASSWORD, "admin")
    try:
        assert placement.refused("POST", "/reshaper", body(3, **moved))[0] == 409
        half = body(4, **{first: moved[first]})
        assert placement.refused("POST", "/reshaper", half) == (409, "placement.inventory.inuse")
        assert placement.call("GET", f"/resource_providers/{top}/usages")["usages"]["VCPU"] == 4
        assert placement.ask("POST", "/reshaper", body(4, **moved))[0] == 204
    finally:
        admin.http.call("DELETE", f"/identity/v3{grant}")
        admin.http.login("admin", PASSWORD, "admin")
    usages = {p: placement.call("GET", f"/resource_providers/{p}/usages")["usages"] for p in (top, child)}
    assert usages == {top: {"DISK_GB": 1}, child: {"VCPU": 4}}
    assert placement.take(str(uuid.uuid4()), None, **{child: {"VCPU": 1}})[0] == 409
    placement.forget(child, top)


def test_compute_nodes_are_not_made_renamed_or_deleted_here(placement: Placement) -> None:
    node = placement.node()
    assert placement.refused("DELETE", f"/resource_providers/{node}")[0] == 409
    assert placement.refused("PUT", f"/resource_providers/{node}", {"name": "other"})[0] == 400
    assert placement.refused("POST", "/resource_providers", {"name": "node1"}) == (
        409,
        "placement.duplicate_name",
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/resource_providers?nonsense=1", 400),
        ("/resource_providers?resources=VCPU", 400),
        ("/resource_providers?resources=CUSTOM_NONE:1", 400),
        ("/resource_providers?required=CUSTOM_NONE", 400),
        ("/resource_providers?member_of=here", 400),
        ("/allocation_candidates", 400),
        ("/allocation_candidates?resources=VCPU:1&limit=0", 400),
        ("/usages", 400),
        ("/traits?name=HW", 400),
        ("/traits/HW_NOTHING", 404),
        ("/resource_classes/CUSTOM_NONE", 404),
        ("/allocations/nobody", 400),
        ("/usages?project_id=p&nonsense=1", 400),
        ("/allocation_candidates?resources=VCPU:1&required1=COMPUTE_NODE", 400),
        (
            "/allocation_candidates?resources=VCPU:1&root_required=COMPUTE_NODE&root_required=HW_NUMA_ROOT",
            400,
        ),
        ("/allocation_candidates?resources=VCPU:1&required=COMPUTE_NODE,!COMPUTE_NODE", 400),
    ],
)
def test_what_cannot_be_understood_is_refused(placement: Placement, path: str, status: int) -> None:
    assert placement.refused("GET", path)[0] == status


def test_a_class_may_be_renamed_before_1_7(placement: Placement) -> None:
    old, new, body = "/resource_classes/CUSTOM_OLD", "/resource_classes/CUSTOM_NEW", {"name": "CUSTOM_NEW"}
    assert placement.ask("PUT", old)[0] == 201
    provider = placement.provider(CUSTOM_OLD=1)
    assert placement.ask("PUT", old, body, version="1.6")[0] == 409
    placement.forget(provider)
    assert placement.call("PUT", old, body, version="1.6")["name"] == "CUSTOM_NEW"
    assert placement.refused("GET", old)[0] == 404
    assert placement.ask("PUT", "/resource_classes/VCPU", body, version="1.6")[0] == 400
    placement.call("DELETE", new)


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("1.2", f"/resource_providers?member_of={uuid.UUID(int=1)}"),
        ("1.17", "/resource_providers?required=COMPUTE_NODE"),
        ("1.21", "/resource_providers?required=!COMPUTE_NODE"),
        ("1.23", f"/resource_providers?member_of={uuid.UUID(int=1)}&member_of={uuid.UUID(int=2)}"),
        ("1.31", f"/resource_providers?member_of=!{uuid.UUID(int=1)}"),
        ("1.38", "/resource_providers?required=in:COMPUTE_NODE"),
        ("1.15", "/allocation_candidates?resources=VCPU:1&limit=1"),
        ("1.24", "/allocation_candidates?resources=VCPU:1&resources1=VCPU:1"),
        ("1.32", "/allocation_candidates?resources_A=VCPU:1"),
        ("1.34", "/allocation_candidates?resources=VCPU:1&root_required=COMPUTE_NODE"),
        ("1.35", "/allocation_candidates?resources_A=VCPU:1&same_subtree=_A"),
    ],
)
def test_a_parameter_is_known_from_its_version_on(placement: Placement, version: str, path: str) -> None:
    assert placement.ask("GET", path, version=version)[0] == 400
    major, minor = version.split(".")
    assert placement.ask("GET", path, version=f"{major}.{int(minor) + 1}")[0] == 200


def test_only_administrators_and_services_see_it(placement: Placement, demo: Compute) -> None:
    theirs = Placement(demo.http)
    assert theirs.refused("GET", "/resource_providers")[0] == 403
    assert theirs.refused("GET", "/traits")[0] == 403
    version, told = placement.ask("GET", "/", version="1.99")
    assert version == 406
    assert told["errors"][0]["max_version"] == "1.39"


@pytest.mark.filterwarnings("ignore")  # those of the client are its own
def test_the_sdk_finds_and_changes_providers(cloud: ProcessCloud) -> None:
    connection = openstack.connect(
        auth_url=f"{cloud.url}/identity/v3",
        username="admin",
        password=PASSWORD,
        project_name="admin",
        user_domain_id="default",
        project_domain_id="default",
        region_name="RegionOne",
        load_yaml_config=False,
        load_envvars=False,
    )
    with connection:
        api: Any = connection.placement
        (node,) = [found for found in api.resource_providers() if found.name == "node1"]
        assert {found.resource_class for found in api.resource_provider_inventories(node)} >= {"VCPU"}
        assert "COMPUTE_NODE" in [trait.name for trait in api.traits()]
        provider = api.create_resource_provider(name="pool")
        made = api.create_resource_provider_inventory(provider, "IPV4_ADDRESS", total=8)
        assert made.total == 8
        assert api.get_resource_provider_inventory(made, provider).max_unit == 2**31 - 1
        assert api.fetch_resource_provider_aggregates(provider).aggregates == []
        api.delete_resource_provider_inventory(made, provider)
        api.delete_resource_provider(provider)
