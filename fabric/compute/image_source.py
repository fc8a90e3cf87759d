"""Where a server's node gets the bytes of its image."""

from fabric.compute.server import SERVERS
from fabric.compute.v1 import server_pb2 as pb
from fabric.image.v1 import image_pb2
from fabric.runtime.store import Store
from fabric.runtime.ticket import Signer

_AGENT = "image"
_MOST_TICKETS = 10_000


def image_ref(image: image_pb2.Image) -> pb.ImageRef:
    """What a server keeps of the image that it boots from."""
    return pb.ImageRef(
        id=image.meta.id,
        name=image.meta.name,
        disk_format=image.spec.disk_format,
        size_bytes=image.view.size_bytes,
        virtual_size_bytes=image.view.virtual_size_bytes,
        node=image.node,
        sha512=image.view.hash_value,
        properties=image.spec.properties,
        min_ram_mib=image.spec.min_ram_mib,
    )


class ImageSources:
    """Tickets to read an image, for the node that needs it."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self._store = store
        self._signer = signer
        self._tickets: dict[tuple[str, str], str] = {}  # for ever good, and slow to make

    def find(self, server: pb.Server, image: pb.ImageRef) -> pb.ImageSource:
        """The source of an image for the server's node. While its image agent is away, the address is the last one."""
        return pb.ImageSource(
            image_id=image.id,
            address=self._address(image.node) or self._last_address(server, image),
            ticket=self._ticket(image.id, server.node),
            size_bytes=image.size_bytes,
            sha512=image.sha512,
            disk_format=image.disk_format,
        )

    def _ticket(self, image_id: str, node: str) -> str:
        known = self._tickets.get((image_id, node))
        if known is None:
            if len(self._tickets) >= _MOST_TICKETS:
                self._tickets.clear()
            claims = {"image": image_id, "may": "read", "node": node}
            known = self._tickets[image_id, node] = self._signer.sign(claims)
        return known

    def _address(self, node: str) -> str:
        life = self._store.life(node, _AGENT)
        return life.address if life is not None else ""

    def _last_address(self, server: pb.Server, image: pb.ImageRef) -> str:
        wanted = self._store.wanted(SERVERS, server.node).get(server.meta.id)
        told = (wanted.image, wanted.rescue_image) if wanted is not None else ()
        return next((source.address for source in told if source.image_id == image.id), "")
