"""The traits of compute nodes: what a node is able to do, in placement's words. No I/O."""

from collections.abc import Iterable

import os_traits  # type: ignore[import-untyped]

from fabric.compute.v1 import compute_node_pb2

STANDARD = frozenset[str](os_traits.get_traits())

_OFFERED = frozenset(
    {
        "COMPUTE_NODE",
        "COMPUTE_IMAGE_TYPE_QCOW2",
        "COMPUTE_IMAGE_TYPE_RAW",
        "COMPUTE_NET_ATTACH_INTERFACE",
        "COMPUTE_NET_VIF_MODEL_VIRTIO",
        "COMPUTE_STORAGE_BUS_VIRTIO",
    }
)
_CALLED = {"aes": "AESNI", "pclmulqdq": "CLMUL", "pclmuldq": "CLMUL", "fma": "FMA3", "pni": "SSE3"}


def own_traits(node: compute_node_pb2.ComputeNode) -> frozenset[str]:
    """What the node has by itself."""
    found = _OFFERED | set(_of_processor(node.inventory.cpu_features))
    arch = f"HW_ARCH_{node.inventory.cpu_arch.upper()}"
    found |= {arch} & STANDARD
    if node.spec.disabled:
        found |= {"COMPUTE_STATUS_DISABLED"}
    return frozenset(found)


def traits(node: compute_node_pb2.ComputeNode) -> frozenset[str]:
    """With what operators have given it."""
    return own_traits(node) | frozenset(node.spec.traits)


def _of_processor(features: Iterable[str]) -> Iterable[str]:
    for feature in features:
        plain = feature.replace("_", "").replace(".", "").replace("-", "").upper()
        trait = f"HW_CPU_X86_{_CALLED.get(feature, plain)}"
        if trait in STANDARD:
            yield trait
