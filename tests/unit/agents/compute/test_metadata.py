import base64
import json

from agents.compute.metadata import Documents, documents
from fabric.compute.v1 import server_pb2 as pb
from tests.unit.agents.compute.wants import SERVER_ID, a_nic, a_want


def json_of(told: Documents, path: str) -> object:
    found = told.lookup(path)
    assert isinstance(found, bytes)
    return json.loads(found)


def test_meta_data_names_the_server_its_keys_and_its_metadata() -> None:
    want = a_want()
    want.server.spec.key_name = "k"
    want.server.spec.public_key = "ssh-ed25519 AAAA"
    want.server.spec.metadata["role"] = "db"
    told = json_of(documents(want), "/openstack/latest/meta_data.json")
    assert isinstance(told, dict)
    assert told["uuid"] == SERVER_ID
    assert told["hostname"] == "web"
    assert told["public_keys"] == {"k": "ssh-ed25519 AAAA"}
    assert told["meta"] == {"role": "db"}
    assert told["availability_zone"] == "nova"


def test_the_password_is_told_only_where_asked() -> None:
    want = a_want()
    want.server.spec.admin_password = "secret"
    path = "/openstack/latest/meta_data.json"
    assert "admin_pass" not in json_of(documents(want), path)  # type: ignore[operator]
    assert "admin_pass" in json_of(documents(want, admin_password=True), path)  # type: ignore[operator]


def test_network_data_tells_dhcp_static_and_slaac_apart() -> None:
    nic = a_nic()
    nic.fixed_ips.add(ip_address="10.1.0.5", cidr="10.1.0.0/16", gateway_ip="10.1.0.1", ip_version=4)
    nic.fixed_ips.add(ip_address="fd00::5", cidr="fd00::/64", ipv6_address_mode="slaac", ip_version=6)
    nic.fixed_ips.add(ip_address="fd01::5", cidr="fd01::/64", gateway_ip="fd01::1", ip_version=6)
    told = json_of(documents(a_want(nics=(nic,))), "/openstack/2018-08-27/network_data.json")
    assert isinstance(told, dict)
    assert [network["type"] for network in told["networks"]] == ["ipv4_dhcp", "ipv4", "ipv6_slaac", "ipv6"]
    assert told["networks"][1]["netmask"] == "255.255.0.0"
    assert told["networks"][1]["routes"][0] == {
        "network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.1.0.1"}  # fmt: skip
    assert told["networks"][3]["netmask"] == "ffff:ffff:ffff:ffff::"
    assert told["links"][0]["ethernet_mac_address"] == nic.mac_address
    assert told["services"] == [{"type": "dns", "address": "10.0.0.2"}]


def test_user_data_is_bytes_as_sent_in_both_trees() -> None:
    told = documents(a_want(user_data=b"#!/bin/sh\n\xff"))
    assert told.lookup("openstack/latest/user_data") == b"#!/bin/sh\n\xff"
    assert told.lookup("latest/user-data") == b"#!/bin/sh\n\xff"


def test_without_user_data_there_is_none() -> None:
    told = documents(a_want())
    assert told.lookup("openstack/latest/user_data") is None
    assert told.lookup("latest/user-data") is None


def test_ec2_listings_mark_subtrees_and_name_the_key() -> None:
    want = a_want(nics=(a_nic(),))
    want.server.spec.key_name = "k"
    want.server.spec.public_key = "ssh-ed25519 AAAA"
    told = documents(want)
    listing = told.lookup("/latest/meta-data/")
    assert isinstance(listing, list)
    assert {"ami-id", "placement/", "public-keys/"} <= set(listing)
    assert told.lookup("/latest/meta-data/public-keys/") == ["0=k"]
    assert told.lookup("/2009-04-04/meta-data/public-keys/0/openssh-key") == b"ssh-ed25519 AAAA"
    assert told.lookup("/latest/meta-data/local-ipv4") == b"10.0.0.5"
    assert told.lookup("/latest/meta-data/placement/availability-zone") == b"nova"
    assert json.loads(told.ec2_json())["public-keys"]["0"]["openssh-key"] == "ssh-ed25519 AAAA"


def test_what_is_not_there_is_none() -> None:
    told = documents(a_want())
    for path in (
        "/x",
        "/openstack/1999",
        "/latest/meta-data/x",
        "/latest/meta-data/ami-id/x",
        "/openstack/a/b/c",
    ):
        assert told.lookup(path) is None


def test_injected_files_are_served_as_content() -> None:
    want = a_want()
    want.server.spec.personality.append(
        pb.PersonalityFile(path="/etc/motd", contents=base64.b64encode(b"hello").decode())
    )
    told = documents(want)
    assert told.lookup("/openstack/content/0000") == b"hello"
    meta = json_of(told, "/openstack/latest/meta_data.json")
    assert isinstance(meta, dict)
    assert meta["files"] == [{"path": "/etc/motd", "content_path": "/content/0000"}]
