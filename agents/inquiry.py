"""Asks the panel how long etcd has not answered it: for the guard, which has no event loop."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from fabric.runtime.config import Tls
from fabric.runtime.tls import channel_credentials
from fabric.type.v1 import witness_pb2 as pb
from fabric.type.v1.witness_pb2_grpc import WitnessServiceStub

_TIMEOUT_S = 0.5
_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]


class Inquiry:
    """Keeps its connections."""

    def __init__(self, agent: str, panel: Mapping[str, str], tls: Tls) -> None:
        """agent: the kind whose leases are asked for; panel: node -> address."""
        self._request = pb.GetLifeRequest(agent=agent)
        credentials = channel_credentials(tls)
        self._channels = {
            node: grpc.insecure_channel(address, options=_OPTIONS)
            if credentials is None
            else grpc.secure_channel(address, credentials, options=_OPTIONS)
            for node, address in panel.items()
        }

    def silences_s(self, nodes: Iterable[str]) -> list[float | None]:
        """How long each has had no answer of etcd; None: it cannot be reached. All are asked at once."""
        calls = [
            WitnessServiceStub(self._channels[node]).GetLife.future(self._request, timeout=_TIMEOUT_S)
            for node in nodes
        ]
        return [_silence_s(call) for call in calls]

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()


def _silence_s(call: Any) -> float | None:
    try:
        life: pb.GetLifeResponse = call.result()
    except grpc.RpcError:
        return None
    return life.silence.ToTimedelta().total_seconds() if life.alive else float("inf")
