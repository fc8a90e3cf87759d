"""A table renders and parses by what its fields say."""

from types import SimpleNamespace
from typing import Any

import pytest

from fabric.compute.v1 import server_pb2
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from fabric.network.v1 import port_pb2, security_group_pb2
from fabric.network.v1.security_group_pb2_grpc import SecurityGroupServiceStub
from gateway.core.codec import Integer, Json, List, Text
from gateway.core.dialect import Api, Dialect
from gateway.core.fault import Invalid
from gateway.core.table import Field, Object, Table

BOTH = "create update"
RULES = Table(
    "security_group_rule",
    "security_group_rules",
    security_group_pb2.SecurityGroupRule,
    SecurityGroupServiceStub,
    [
        Field("id", "meta.id"),
        Field("direction", "spec.direction", write="create", required=True),
        Field(
            "port_range_min", "spec.port_range_min", write="create", codec=Integer(0, 65535, nullable=True)
        ),
        Field("protocol", "spec.protocol", write="create", codec=Text(nullable=True)),
    ],
)
SERVERS = Table(
    "server",
    "servers",
    server_pb2.Server,
    ServerServiceStub,
    [
        Field("id", "meta.id"),
        Field("name", "meta.name", write=BOTH, required=True),
        Field("hostname", "spec.hostname", write=BOTH, default="h", detail_only=True),
        Field("description", "meta.description", write=BOTH, since="2.19", codec=Text(nullable=True)),
        Field("locked", "spec.locked", since="2.9", until="2.20"),
        Field("node", "node", visible_to="admin"),
        Field("progress", const=0),
        Field("shout", compute=lambda server, request: server.meta.name.upper()),
        Field("secret", "spec.admin_password", write="create", read=False),
        Field("tags", "meta.tags", write=BOTH, aliases=("labels",)),
        Field("key", read=False, write="create"),
    ],
    extra="spec.metadata",
)
PAIR = Object(
    port_pb2.AddressPair,
    [
        Field("ip_address", "ip_address", write=BOTH, required=True),
        Field("mac_address", "mac_address", write=BOTH, default="auto"),
    ],
)


def caller(version: tuple[int, int] = (2, 19), *roles: str) -> Any:
    return SimpleNamespace(microversion=version, roles=frozenset(roles), api=Api("compute", [], Dialect()))


def test_what_is_shown_depends_on_version_roles_and_detail() -> None:
    server = server_pb2.Server(node="n1")
    server.meta.name = "web"
    shown = SERVERS.render(server, caller())
    assert shown == {
        "id": "",
        "name": "web",
        "hostname": "",
        "description": None,
        "locked": False,
        "progress": 0,
        "shout": "WEB",
        "tags": [],
        "labels": [],
    }
    assert SERVERS.render(server, caller((2, 19), "admin"))["node"] == "n1"
    assert "description" not in SERVERS.render(server, caller((2, 18)))
    assert "locked" not in SERVERS.render(server, caller((2, 21)))
    assert "hostname" not in SERVERS.render(server, caller(), detail=False)
    assert SERVERS.render(server, caller(), fields=("id", "nonsense")) == {"id": ""}


def test_a_create_takes_defaults_aliases_and_extra() -> None:
    body = {"name": "n", "labels": ["a"], "mood": "fine", "key": "k", "secret": "s"}
    server = SERVERS.parse_create(body, caller())
    assert (server.meta.name, server.spec.hostname, list(server.meta.tags)) == ("n", "h", ["a"])
    assert (server.spec.metadata["mood"], server.spec.admin_password) == ("fine", "s")
    assert SERVERS.render(server, caller())["mood"] == "fine"


def test_an_update_names_its_paths() -> None:
    server, paths = SERVERS.parse_update(
        {"name": "n", "description": None, "tags": [], "mood": "x"}, caller()
    )
    assert paths == ["meta.description", "meta.name", "meta.tags", "spec.metadata"]
    assert server.meta.name == "n"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": None},
        {"name": "n", "id": "x"},
        {"name": "n", "locked": True},
        {"name": "n", "tags": ["a"], "labels": ["b"]},
        {"name": "n", "tags": "a"},
        {"name": "n", "tags": [None]},
        {"name": "n", "mood": 3},
        {"name": "n", "key": 3},
        {"name": "n", "x" * 300: "y"},
    ],
)
def test_what_a_create_refuses(body: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        SERVERS.parse_create(body, caller())


def test_without_extra_unknown_attributes_are_refused_by_name() -> None:
    with pytest.raises(Invalid, match="nonsense"):
        RULES.parse_create({"direction": "ingress", "nonsense": 1}, caller())


def test_optional_fields_know_zero_from_unset() -> None:
    rule = RULES.parse_create({"direction": "ingress", "port_range_min": 0}, caller())
    assert RULES.render(rule, caller())["port_range_min"] == 0
    rule = RULES.parse_create({"direction": "ingress", "port_range_min": None}, caller())
    assert RULES.render(rule, caller())["port_range_min"] is None
    assert RULES.render(rule, caller())["protocol"] is None


def test_submessages_in_lists() -> None:
    pairs = List(PAIR)
    inner = pairs.from_json([{"ip_address": "10.0.0.1"}], "pairs")
    assert pairs.to_json(inner) == [{"ip_address": "10.0.0.1", "mac_address": "auto"}]
    wrongs: list[Any] = [[{}], [{"ip_address": 1}], [{"ip_address": "1", "x": 1}], [3], {}, [None]]
    for wrong in wrongs:
        with pytest.raises(Invalid, match="pairs"):
            pairs.from_json(wrong, "pairs")


def test_the_schema_tells_what_may_be_written() -> None:
    schema = SERVERS.schema()
    assert schema["required"] == ["name"]
    assert set(schema["properties"]) == {"name", "hostname", "description", "secret", "tags", "labels", "key"}
    assert schema["additionalProperties"] is True


def test_a_wrong_path_fails_when_the_table_is_made() -> None:
    with pytest.raises(KeyError):
        Table("port", "ports", port_pb2.Port, object, [Field("x", "spec.nonsense")])
    with pytest.raises(ValueError, match="needs a path"):
        Table("port", "ports", port_pb2.Port, object, [Field("x")])


def test_a_struct_field_needs_only_its_codec() -> None:
    profile = Field("p", "spec.binding_profile", write=BOTH, codec=Json())
    ports = Table("port", "ports", port_pb2.Port, object, [profile])
    port = ports.parse_create({"p": {"a": [1]}}, caller())
    assert ports.render(port, caller()) == {"p": {"a": [1]}}
    assert ports.render(port_pb2.Port(), caller()) == {"p": {}}
