"""What rests in etcd."""

import json

import pytest
from cryptography.fernet import Fernet

from fabric.compute.v1.server_pb2 import Server, ServerWant
from fabric.runtime.codec import Codec

KEY, OTHER = Fernet.generate_key(), Fernet.generate_key()


def a_server() -> Server:
    server = Server()
    server.meta.id, server.spec.admin_password = "s1", "hunter2"
    server.meta.create_time.seconds = 1
    return server


def test_values_are_readable_json_with_the_names_of_the_proto() -> None:
    value = json.loads(Codec([KEY]).encode(a_server()))
    assert value["meta"] == {"id": "s1", "create_time": "1970-01-01T00:00:01Z"}


def test_secrets_are_sealed_wherever_they_are_nested() -> None:
    value = Codec([KEY]).encode(ServerWant(server=a_server()))
    assert b"hunter2" not in value
    assert Codec([KEY]).decode(ServerWant, value).server.spec.admin_password == "hunter2"


def test_without_keys_a_secret_stays_sealed() -> None:
    read = Codec().decode(Server, Codec([KEY]).encode(a_server()))
    assert "hunter2" not in read.spec.admin_password
    assert Codec([KEY]).decode(Server, Codec().encode(read)) == a_server()


def test_a_rotated_key_still_opens_what_it_sealed() -> None:
    assert Codec([OTHER, KEY]).decode(Server, Codec([KEY]).encode(a_server())) == a_server()


def test_a_secret_of_a_foreign_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="master key"):
        Codec([OTHER]).decode(Server, Codec([KEY]).encode(a_server()))


def test_a_secret_cannot_be_written_without_a_key() -> None:
    with pytest.raises(ValueError, match="master key"):
        Codec().encode(a_server())


def test_what_several_keys_have_in_common_is_decoded_once() -> None:
    codec = Codec()
    value = codec.encode(ServerWant(fenced=True))
    assert codec.decode_alike(ServerWant, value) is codec.decode_alike(ServerWant, value)
    assert codec.decode_alike(ServerWant, codec.encode(ServerWant())) == ServerWant()
