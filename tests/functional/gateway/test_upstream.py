"""The channel to the controllers: several of them, lost ones, restarts."""

import asyncio

import grpc
import pytest

from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1 import network_pb2_grpc as rpc
from gateway.core.app import application
from gateway.core.upstream import Upstream
from gateway.network.api import API
from tests.functional.gateway.harness import Client, Networks, Settings, controller

NETWORKS = "/network/v2.0/networks"


async def start(networks: Networks, port: int = 0) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    rpc.add_NetworkServiceServicer_to_server(networks, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, port


async def test_calls_wait_for_a_controller_that_restarts() -> None:
    networks = Networks()
    server, port = await start(networks)
    upstream = Upstream([f"127.0.0.1:{port}"])
    client = Client(application([API], upstream, Settings()))
    assert (await client("GET", NETWORKS)).status == 200
    await server.stop(None)
    waiting = asyncio.create_task(client("POST", NETWORKS, {"network": {"name": "n"}}))
    await asyncio.sleep(0.5)
    server, _ = await start(networks, port)
    assert (await asyncio.wait_for(waiting, 30)).status == 201
    await upstream.close()
    await server.stop(None)


async def test_a_dead_controller_among_several_is_not_noticed() -> None:
    networks = Networks()
    async with controller(networks) as first, controller(networks) as second:
        dead, port = await start(networks)
        await dead.stop(None)
        upstream = Upstream([f"localhost:{port}", f"127.0.0.1:{first}", f"127.0.0.1:{second}"])
        client = Client(application([API], upstream, Settings()))
        assert {(await client("GET", NETWORKS)).status for _ in range(20)} == {200}
        await upstream.close()


async def test_what_may_be_repeated_is_asked_again_when_its_reply_was_lost() -> None:
    class Lossy(Networks):
        calls = 0

        async def _lose(self, context: grpc.aio.ServicerContext[object, object]) -> None:
            self.calls += 1
            if self.calls == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset by peer")

        async def ListNetworks(
            self, request: pb.ListNetworksRequest, context: grpc.aio.ServicerContext[object, object]
        ) -> pb.ListNetworksResponse:
            await self._lose(context)
            return await super().ListNetworks(request, context)

        async def CreateNetwork(
            self, request: pb.CreateNetworkRequest, context: grpc.aio.ServicerContext[object, object]
        ) -> pb.Network:
            await self._lose(context)
            return await super().CreateNetwork(request, context)

        async def DeleteNetwork(
            self, request: pb.DeleteNetworkRequest, context: grpc.aio.ServicerContext[object, object]
        ) -> pb.Network:
            done = await super().DeleteNetwork(request, context)
            await self._lose(context)
            return done

    networks = Lossy()
    async with controller(networks) as port:
        upstream = Upstream([f"127.0.0.1:{port}"])
        client = Client(application([API], upstream, Settings()))
        assert (await client("GET", NETWORKS)).status == 200
        assert networks.calls == 2
        networks.calls = 0
        answer = await client("POST", NETWORKS, {"network": {}})
        assert (answer.status, networks.calls) == (503, 1)
        assert answer.headers["retry-after"] == "1"
        assert "reset" not in answer.json["NeutronError"]["message"]
        made = await client("POST", NETWORKS, {"network": {"name": "n"}})
        networks.calls = 0
        one = f"{NETWORKS}/{made.json['network']['id']}"
        assert [(await client("DELETE", one)).status for _ in range(2)] == [204, 404]
        await upstream.close()


async def test_a_removal_that_is_not_repeated_tells_that_nothing_was_there() -> None:
    async with controller(Networks()) as port:
        upstream = Upstream([f"127.0.0.1:{port}"])
        remove, nothing = upstream.stub(rpc.NetworkServiceStub).DeleteNetwork, pb.DeleteNetworkRequest(id="n")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await upstream.call(remove, nothing, (), timeout=10, retry=False, removes=True)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        await upstream.close()
