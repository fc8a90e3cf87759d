"""What `fabricctl up` writes when nothing is there."""

import socket
import ssl
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from fabric.ctl.openrc import lines
from fabric.ctl.place import Place, place
from fabric.ctl.plan import programs
from fabric.ctl.settings import Refused, Wish, ensure, render, upgrade
from fabric.runtime.certificate import Authority
from fabric.runtime.config import load


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return place(tmp_path / "cloud", None)


def test_configuration_is_made_once_and_kept(here: Place) -> None:
    made, new = ensure(here, Wish(listen="127.0.0.1:0", node="n1", compute_driver="fake"))
    assert new
    assert (made.node.name, made.compute.driver) == ("n1", "fake")
    assert ensure(here, Wish()) == (made, False)
    assert load(here.config) == made


def test_secrets_are_for_the_owner_only(here: Place) -> None:
    config, _ = ensure(here, Wish(listen="127.0.0.1:0"))
    Fernet(Path(config.controller.master_key_file).read_text().split()[0])
    assert stat.S_IMODE(here.keys.stat().st_mode) == 0o700
    for path in (here.config, *here.keys.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_two_clouds_have_the_same_passwords(tmp_path: Path) -> None:
    configs = [ensure(place(tmp_path / name, None), Wish(listen="127.0.0.1:0"))[0] for name in "ab"]
    passwords = {
        word
        for config in configs
        for word in (config.bootstrap.admin_password, config.bootstrap.demo_password)
    }
    assert len(passwords) == 4


def test_processes_listen_at_different_free_addresses(here: Place) -> None:
    config, _ = ensure(here, Wish(listen="127.0.0.1:0"))
    addresses = [config.controller.listen, config.agent.listen, *config.etcd.endpoints]
    assert len(set(addresses)) == 3


def test_address_in_use_is_refused(here: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(Refused, match=address):
            ensure(here, Wish(listen=address))
    assert not here.config.exists()


def test_wish_against_the_file_is_refused(here: Place) -> None:
    ensure(here, Wish(listen="127.0.0.1:0"))
    with pytest.raises(Refused, match="--compute-driver fake"):
        ensure(here, Wish(compute_driver="fake"))


def test_rendered_text_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(render({"node": {"name": 'a"b\\ü'}, "etcd": {"endpoints": ["[::1]:2379"]}}))
    assert load(path).node.name == 'a"b\\ü'
    assert load(path).etcd.endpoints == ["[::1]:2379"]


def test_cloud_from_before_tls_gets_it(here: Place) -> None:
    made, _ = ensure(here, Wish(listen="127.0.0.1:0", node="n1"))
    lines = here.config.read_text().splitlines()
    start = lines.index("[tls]")
    del lines[start : start + 4]
    old = [line for line in lines if not line.startswith(("join_listen", "authority_dir"))]
    here.config.write_text("\n".join([*old, "# mine", ""]))
    before = load(here.config)
    assert (before.tls.ca_file, before.controller.authority_dir) == ("", "")
    after = upgrade(here, before)
    assert (after.tls, after.controller.authority_dir) == (made.tls, made.controller.authority_dir)
    assert after.controller.join_listen
    assert "# mine" in here.config.read_text()
    assert upgrade(here, after) == after


def test_openrc_quotes_and_unsets(here: Place) -> None:
    config, _ = ensure(here, Wish(listen="127.0.0.1:0"))
    text = lines(config, "demo")
    assert text.startswith("unset OS_CLOUD ")
    assert f"export OS_PASSWORD={config.bootstrap.demo_password}" in text
    assert "export OS_PROJECT_NAME=demo" in text


def test_gateway_with_tls_shows_the_node_s_certificate(here: Place) -> None:
    config, _ = ensure(here, Wish(listen="127.0.0.1:0", tls=True))
    assert config.bootstrap.public_url.startswith("https://127.0.0.1:")
    assert (config.gateway.cert_file, config.gateway.key_file) == (config.tls.cert_file, config.tls.key_file)
    assert f"export OS_CACERT={config.tls.ca_file}" in lines(config, "demo")


def test_tls_is_refused_where_the_certificate_would_not_fit(here: Place) -> None:
    with pytest.raises(Refused, match="--tls"):
        ensure(here, Wish(listen="0.0.0.0:0", tls=True))


def test_etcd_comes_first_and_the_fake_driver_needs_no_libvirtd(here: Place) -> None:
    config, _ = ensure(here, Wish(listen="127.0.0.1:0", compute_driver="fake"))
    assert [program.name for program in programs(here, config)] == ["etcd", "controller", "gateway", "agent"]


def test_certificates_make_a_mutual_tls_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.ensure()
    pair = authority.ensure_pair("server", "server", ["127.0.0.1", "localhost"])
    first = pair.certificate.read_bytes()
    authority.ensure_pair("server", "server", ["localhost"])
    assert pair.certificate.read_bytes() == first  # it says so already
    assert authority.ensure_pair("server", "server", ["10.0.0.1", "127.0.0.1"]) == pair
    assert pair.certificate.read_bytes() != first
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(pair.certificate, pair.key)
    client_pair = authority.ensure_pair("root", "root", [])
    client = ssl.create_default_context(cafile=authority.certificate)
    client.load_cert_chain(client_pair.certificate, client_pair.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    peer = ends[1].getpeercert()
    assert peer is not None
    assert (("commonName", "root"),) in peer["subject"]
