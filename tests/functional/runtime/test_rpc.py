"""The gRPC server and client: who calls, what they see, and errors as they were raised."""

from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fabric.network.v1 import network_pb2, network_pb2_grpc
from fabric.runtime import newer
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client
from fabric.runtime.errors import Exhausted, FabricError, NotFound, QuotaExceeded, Unauthenticated
from fabric.runtime.resource import methods
from fabric.runtime.rpc import PROJECT, REVISION, ROLES, Server

SERVICE = network_pb2.DESCRIPTOR.services_by_name["NetworkService"]


class Networks:
    """Answers with who asked; raises what the id says."""

    async def GetNetwork(self, request: network_pb2.GetNetworkRequest, caller: Caller) -> network_pb2.Network:
        if request.id == "absent":
            raise NotFound("There is no such network.", reason="NETWORK_NOT_FOUND", id=request.id)
        if request.id == "odd facts":
            raise NotFound("Facts may be called as what is logged.", cause="x", rpc="y", event="z")
        if request.id == "bug":
            raise RuntimeError("a secret detail")
        network = network_pb2.Network()
        network.meta.id, network.meta.project_id = request.id, caller.project_id
        network.meta.request_id = caller.request_id
        if request.id == "of a newer release":
            network.meta.name = str(newer.kept(request))
            newer.keep(network.meta, {"later": 1})
        return network

    async def CreateNetwork(
        self, request: network_pb2.CreateNetworkRequest, caller: Caller
    ) -> network_pb2.Network:
        raise QuotaExceeded("Too many.", resource="network.network", limit=1)

    ListNetworks = UpdateNetwork = DeleteNetwork = BatchCreateNetworks = CreateNetwork


class Fresh:
    """Counts what callers must have seen."""

    def __init__(self) -> None:
        self.asked: list[int | None] = []

    async def fresh(self, revision: int | None) -> None:
        self.asked.append(revision)

    def revision(self) -> int:
        return 42


def authenticate(token: str) -> Caller:
    if token != "good":
        raise Unauthenticated("The request you have made requires authentication.")
    return Caller(user_id="u", project_id="p", roles=frozenset({"reader", "member"}), token=token)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, Fresh]]:
    fresh = Fresh()
    server = Server(authenticate, fresh)
    server.add(SERVICE, methods(SERVICE, {}, Networks()))
    await server.start("127.0.0.1:0")
    yield server, fresh
    await server.stop(0)


@pytest.fixture(params=["over the wire", "in the process"])
def connect(request: pytest.FixtureRequest, server: tuple[Server, Fresh]) -> Callable[..., Client]:
    here = server[0] if request.param == "in the process" else None
    return lambda token="": Client(f"127.0.0.1:{server[0].port}", service_token=lambda: token, here=here)


async def get(client: Client, id_: str, caller: Caller | None = None) -> network_pb2.Network:
    request = network_pb2.GetNetworkRequest(id=id_)
    found: network_pb2.Network = await client.call(
        network_pb2_grpc.NetworkServiceStub, "GetNetwork", request, caller
    )
    return found


async def test_the_caller_and_the_request_id_reach_the_method(connect: Callable[..., Client]) -> None:
    client = connect()
    found = await get(client, "n1", Caller(token="good", request_id="req-1"))
    assert (found.meta.project_id, found.meta.request_id) == ("p", "req-1")
    await client.close()


async def test_what_a_newer_release_keeps_in_a_record_crosses_no_border(
    connect: Callable[..., Client],
) -> None:
    client = connect("good")
    request = network_pb2.GetNetworkRequest(id="of a newer release")
    newer.keep(request, {"meta": "forged"})
    found = await client.call(network_pb2_grpc.NetworkServiceStub, "GetNetwork", request)
    assert (found.meta.name, newer.kept(found.meta)) == ("{}", {})
    newer.KINDS.clear()
    await client.close()


async def test_without_a_token_nothing_is_told(connect: Callable[..., Client]) -> None:
    client = connect("bad")
    with pytest.raises(Unauthenticated):
        await get(client, "n1")
    await client.close()


async def test_errors_arrive_as_they_were_raised(connect: Callable[..., Client]) -> None:
    client = connect("good")
    with pytest.raises(NotFound, match="no such network") as absent:
        await get(client, "absent")
    assert (absent.value.reason, absent.value.facts) == ("NETWORK_NOT_FOUND", {"id": "absent"})
    with pytest.raises(FabricError) as full:
        await client.call(
            network_pb2_grpc.NetworkServiceStub, "CreateNetwork", network_pb2.CreateNetworkRequest()
        )
    assert full.value.code.value[0] == code_pb2.RESOURCE_EXHAUSTED
    assert full.value.facts["limit"] == "1"
    assert type(full.value) is Exhausted
    await client.close()


async def test_a_bug_is_told_without_its_details(
    connect: Callable[..., Client], capsys: pytest.CaptureFixture[str]
) -> None:
    client = connect("good")
    with pytest.raises(FabricError) as caught:
        await get(client, "bug")
    assert "secret" not in caught.value.message
    assert "a secret detail" in capsys.readouterr().out  # in the log
    await client.close()


async def test_replies_carry_revision_and_roles_and_requests_wait_for_theirs(
    server: tuple[Server, Fresh],
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server[0].port}") as channel:
        stub = network_pb2_grpc.NetworkServiceStub(channel)
        for revision in ((REVISION, "7"),), ():
            call = stub.GetNetwork(
                network_pb2.GetNetworkRequest(id="n1"), metadata=(("x-auth-token", "good"), *revision)
            )
            await call
            trailing = dict(await call.trailing_metadata())
            assert (trailing[REVISION], trailing[ROLES], trailing[PROJECT]) == ("42", "member,reader", "p")
    assert server[1].asked == [7, None]


async def test_health_and_reflection_answer_without_a_token(server: tuple[Server, Fresh]) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server[0].port}") as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE.full_name),
        ]
        replies = [reply async for reply in stub.ServerReflectionInfo(iter(requests))]
    names = {service.name for service in replies[0].list_services_response.service}
    assert {SERVICE.full_name, "grpc.health.v1.Health"} <= names
    file = FileDescriptorProto.FromString(replies[1].file_descriptor_response.file_descriptor_proto[0])
    assert file.package == "fabric.network.v1"


async def test_a_service_with_a_missing_method_does_not_start() -> None:
    with pytest.raises(ValueError, match="GetNetwork"):
        Server().add(SERVICE, {})


async def test_a_fact_may_have_any_name(connect: Callable[..., Client]) -> None:
    client = connect("good")
    with pytest.raises(NotFound) as caught:
        await get(client, "odd facts")
    assert caught.value.facts == {"cause": "x", "rpc": "y", "event": "z"}
    await client.close()
