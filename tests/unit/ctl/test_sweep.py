"""What does not belong to a live record is found, and what does is not."""

from collections.abc import AsyncIterator, Callable

import pytest

from fabric.compute.server import SERVERS
from fabric.compute.v1 import server_pb2
from fabric.ctl.holding import missing, orphans, with_work
from fabric.network.collection import PORTS
from fabric.network.v1 import port_pb2
from fabric.runtime.consistency import disagreements
from fabric.runtime.etcd import Etcd
from fabric.runtime.store import ROOT, Store
from fabric.type.v1 import holding_pb2, quota_pb2
from tests.unit.ctl.shelf import Shelf

NODE, PORT = "n1", "0a1b2c3d-4e5f-4a6b-8c7d-000000000001"
Holding = holding_pb2.Holding


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """One port, bound to the node and ACTIVE there, with its claims, its charge, its want and its report."""
    etcd = Etcd(["127.0.0.1:1"])  # is not asked
    store = Store(etcd, Shelf().codec, [PORTS, SERVERS], limits={})
    port = a_port()
    put(store, PORTS.key(PORT), port)
    for index, value in PORTS.claims(port):
        put(store, PORTS.claim_key(index, value), PORT)
    put(store, f"{ROOT}/quota/p1/network.port", quota_pb2.Quota(usage=1))
    put(store, PORTS.want_key(NODE, PORT), port)
    status = port_pb2.PortStatus(state=port_pb2.PortStatus.STATE_ACTIVE, observed_generation=1)
    put(store, PORTS.seen_key(NODE, PORT), status)
    yield store
    await etcd.close()


def put(store: Store, key: str, value: object) -> None:
    parent, _, id_ = key.rpartition("/")
    store.cache.table(parent).put(id_, value, 1)


def drop(store: Store, key: str) -> None:
    parent, _, id_ = key.rpartition("/")
    store.cache.table(parent).drop(id_)


def a_port() -> port_pb2.Port:
    port = port_pb2.Port()
    port.meta.id, port.meta.project_id, port.meta.generation = PORT, "p1", 1
    port.spec.network_id, port.spec.mac_address, port.spec.node = "net", "fa:16:3e:00:00:01", NODE
    port.spec.fixed_ips.add(subnet_id="sub", ip_address="10.0.0.2")
    return port


TAP = Holding(kind="tap", name="tap0a1b2c3d-4e", owner_kind="ports", owner_id=PORT[:11])


async def test_what_fits_is_clean(store: Store) -> None:
    assert list(disagreements(store)) == []
    assert list(orphans(store, NODE, [TAP])) == []
    assert list(missing(store, NODE, [TAP])) == []
    assert with_work(store) == {NODE}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda store: drop(store, PORTS.claim_key("ip", "sub/10.0.0.2")), "does not hold its claim ip"),
        (
            lambda store: put(store, PORTS.claim_key("ip", "sub/10.0.0.2"), "other"),
            "does not hold its claim ip",
        ),
        (lambda store: put(store, PORTS.claim_key("ip", "sub/10.0.0.3"), "other"), "which does not exist"),
        (lambda store: put(store, PORTS.claim_key("ip", "sub/10.0.0.3"), PORT), "which does not ask for it"),
        (lambda store: put(store, f"{ROOT}/quota/p1/network.port", quota_pb2.Quota(usage=2)), "there are 1"),
        (lambda store: drop(store, f"{ROOT}/quota/p1/network.port"), "says 0 network.port, there are 1"),
        (lambda store: put(store, f"{ROOT}/quota/p2/network.port", quota_pb2.Quota(usage=1)), "there are 0"),
        (
            lambda store: put(store, PORTS.want_key(NODE, "x"), a_port()),
            "want of n1 for network/ports/x has no",
        ),
        (lambda store: drop(store, PORTS.want_key(NODE, PORT)), "which is not wanted there"),
        (
            lambda store: put(store, SERVERS.seen_key("n2", "s"), server_pb2.ServerStatus()),
            "n2 reports compute/servers/s, which is not wanted",
        ),
    ],
)
async def test_what_does_not_fit_is_told(store: Store, spoil: Callable[[Store], None], said: str) -> None:
    spoil(store)
    assert any(said in line for line in disagreements(store)), list(disagreements(store))


async def test_what_nobody_wants_on_a_node_is_told(store: Store) -> None:
    stray = Holding(kind="domain", name="instance-1", owner_kind="servers", owner_id="s1")
    (line,) = orphans(store, NODE, [TAP, stray])
    assert "n1 holds the domain instance-1" in line


async def test_what_a_node_says_to_have_and_has_not_is_told(store: Store) -> None:
    (line,) = missing(store, NODE, [Holding(kind="filter", owner_kind="ports", owner_id=PORT)])
    assert line == f"n1 reports ports/{PORT}, but holds no tap of it"


async def test_what_is_not_ready_or_released_need_not_be_there(store: Store) -> None:
    for status in (
        port_pb2.PortStatus(state=port_pb2.PortStatus.STATE_BUILDING),
        port_pb2.PortStatus(state=port_pb2.PortStatus.STATE_ACTIVE, released=True),
    ):
        put(store, PORTS.seen_key(NODE, PORT), status)
        assert list(missing(store, NODE, [])) == []
