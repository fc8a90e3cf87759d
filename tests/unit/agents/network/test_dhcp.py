import uuid

from agents.network import dhcp, dhcp_release
from fabric.network.v1 import network_pb2, port_pb2
from tests.unit.agents.network.wants import a_network, a_port, a_subnet

NETWORK_ID = str(uuid.uuid4())


def render(want: network_pb2.NetworkWant, *ports: port_pb2.Port) -> dhcp.Files:
    return dhcp.render(
        want, ports, dhcp.PortTexts(), lease_seconds=3600, domain="example", upstream=("127.0.0.1#5353",)
    )


def test_a_port_has_one_line_with_its_addresses() -> None:
    four, six = a_subnet(NETWORK_ID), a_subnet(NETWORK_ID, "fd00::/64", ipv6_address_mode="dhcpv6-stateful")
    want = a_network(four, six, network_id=NETWORK_ID, dhcp=("10.0.0.2", "fd00::2"))
    port = a_port(NETWORK_ID, [(four, "10.0.0.5"), (four, "10.0.0.6"), (six, "fd00::5")])
    files = render(want, port)
    assert files.hosts == f"{port.spec.mac_address},[fd00::5],10.0.0.5,host-10-0-0-5\n"
    assert "10.0.0.6 host-10-0-0-6.example host-10-0-0-6\n" in files.names
    assert dhcp_release.bindings(files.hosts) == {(port.spec.mac_address, "10.0.0.5")}


def test_the_configuration_does_not_depend_on_ports() -> None:
    subnet = a_subnet(NETWORK_ID)
    want = a_network(subnet, network_id=NETWORK_ID)
    port = a_port(NETWORK_ID, [(subnet, "10.0.0.5")])
    assert render(want).configuration == render(want, port).configuration


def test_an_option_cannot_become_a_second_line() -> None:
    subnet = a_subnet(NETWORK_ID)
    port = a_port(NETWORK_ID, [(subnet, "10.0.0.5")])
    port.spec.extra_dhcp_opts.add(name="server-ip-address", value="1.2.3.4\noption:router,6.6.6.6")
    port.spec.extra_dhcp_opts.add(name="tftp-server", value="10.0.0.9")
    options = render(a_network(subnet, network_id=NETWORK_ID), port).options
    assert "6.6.6.6" not in options
    assert f"tag:port-{port.meta.id},option:tftp-server,10.0.0.9\n" in options


def test_a_domain_cannot_become_a_second_line() -> None:
    want = a_network(a_subnet(NETWORK_ID), network_id=NETWORK_ID)
    want.network.spec.dns_domain = "example.org."
    assert "domain=example.org\nlocal=/example.org/\n" in render(want).configuration
    want.network.spec.dns_domain = "example.org\ndhcp-script=/bin/true"
    assert "domain=example\nlocal=/example/\n" in render(want).configuration
    assert "dhcp-script" not in render(want).configuration


def test_nothing_is_served_without_a_dhcp_port_or_a_subnet_that_wants_it() -> None:
    subnet = a_subnet(NETWORK_ID)
    assert dhcp.serves(a_network(subnet, network_id=NETWORK_ID))
    assert not dhcp.serves(a_network(subnet, network_id=NETWORK_ID, dhcp=()))
    off = a_subnet(NETWORK_ID, enable_dhcp=False)
    assert not dhcp.serves(a_network(off, network_id=NETWORK_ID))


def test_a_server_with_a_tagged_host_is_not_told_to_reload() -> None:
    subnet = a_subnet(NETWORK_ID)
    want, port = a_network(subnet, network_id=NETWORK_ID), a_port(NETWORK_ID, [(subnet, "10.0.0.5")])
    assert dhcp.may_reload(render(want, port).hosts)
    port.spec.extra_dhcp_opts.add(name="tftp-server", value="10.0.0.9")
    assert not dhcp.may_reload(render(want, port).hosts)
