"""Certificates of machines are made anew before they end, and nobody notices."""

import ssl
from datetime import timedelta

from fabric.ctl.bed import Lab
from fabric.ctl.plan import SUPERVISOR
from fabric.runtime.certificate import Authority, KeyPair, Validity, request_again, serial, write_private
from tests.processes import wait_for
from tests.system.faults.tenant import Tenant
from tests.system.nodes.conftest import There
from tests.system.nodes.probe import fabricctl, status
from tests.system.nodes.test_controllers import Client, Load


def shown(address: str) -> str:
    """The serial number of the certificate that a server shows now."""
    host, _, port = address.rpartition(":")
    return serial(ssl.get_server_certificate((host, int(port)), timeout=10).encode())


def test_renewed_certificates_are_shown_at_once_and_no_call_fails(
    lab: Lab, there: There, admin: Tenant
) -> None:
    config = lab.config("node2")
    servers = (config.controller.listen, config.agent.listen, config.controller.join_listen)
    before = [there(shown, address) for address in (*servers, config.etcd.endpoints[0])]
    load = Load(Client([f"http://{config.gateway.listen}"], admin.http.token))
    load.start()
    try:
        told = there(fabricctl, lab.directory / "node2", "renew", "--all")
        assert told.count("holds until") == 4, told
        after = [there(shown, address) for address in (*servers, config.etcd.endpoints[0])]
        wait_for(lambda: load.has_called(20), 30, "calls")
    finally:
        load.end()
    assert load.failed == []
    assert not set(before) & set(after)
    assert there(status, config.agent.listen, config.tls.ca_file, config) == "UNIMPLEMENTED"  # it is admitted
    number = serial(KeyPair.at(lab.place("node2").keys, "node").certificate.read_bytes())
    assert number in there(fabricctl, lab.directory / "node1", "node", "show", "node2")


def test_supervisor_has_a_certificate_renewed_that_ends_soon(lab: Lab) -> None:
    keys = lab.place("node3").keys
    root = KeyPair.at(keys, "root")
    brief = Authority(keys, lifetime=timedelta(seconds=12))
    lab.kill_program("node3", SUPERVISOR)
    write_private(root.certificate, brief.sign(request_again(root.key), "root", []))
    lab.fabricctl("node3", "up", "--without-guest")
    wait_for(lambda: Validity.of(root.certificate).lifetime > timedelta(days=1), 30, "another certificate")
