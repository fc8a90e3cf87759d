"""How bytes come to an image agent and back: this service chooses the agent and gives the tickets."""

import uuid
from datetime import UTC, datetime

from fabric.image import image as rules
from fabric.image.image import IMAGES
from fabric.image.images import Images
from fabric.image.v1 import image_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.config import Config
from fabric.runtime.errors import Conflict, FailedPrecondition, InvalidArgument, Unavailable
from fabric.runtime.store import Store, Transaction
from fabric.runtime.ticket import Signer
from fabric.type.v1 import node_pb2

Upload, View = pb.Upload, pb.ImageView
KIND = "image"  # of the agent
TICKET_S = 600.0  # within which a stream must begin


class Agents:
    """The image agents that are alive."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def alive(self) -> dict[str, node_pb2.Life]:
        """Their life signs by node."""
        return {life.node: life for life in self._store.lives() if life.agent == KIND}

    def choose(self, size_bytes: int = 0) -> node_pb2.Life:
        """The agent with the most room. Raises Unavailable, and FailedPrecondition when it is not enough."""
        alive = self.alive().values()
        if not alive:
            raise Unavailable("No image agent is alive.", reason="NO_IMAGE_AGENT")
        best = max(alive, key=self._room)
        if size_bytes > free_bytes(best) > 0:
            raise FailedPrecondition(
                f"There is not enough disk space on the image storage media for {size_bytes} bytes.",
                reason="STORAGE_FULL",
            )
        return best

    def _room(self, life: node_pb2.Life) -> float:
        """What the agent had free when its life began, less the images that it has."""
        here = self._store.table(IMAGES).by("node", life.node)
        return free_bytes(life) - sum(image.view.size_bytes for image in here)

    def at(self, node: str) -> node_pb2.Life:
        """The agent of the node. Raises Unavailable."""
        life = self.alive().get(node)
        if life is None:
            raise Unavailable(
                f"The image agent of {node} does not answer.", reason="NO_IMAGE_AGENT", node=node
            )
        return life


def free_bytes(life: node_pb2.Life) -> float:
    """How much room the agent says it has."""
    return life.detail.fields["free_bytes"].number_value if "free_bytes" in life.detail.fields else 0.0


def check_store(name: str) -> None:
    """Raise InvalidArgument unless images can be put there."""
    if name != rules.STORE:
        raise InvalidArgument(f"Store {name[:64]!r} is not available on this node.", field="store")


def bind(image: pb.Image, node: str, kind: pb.Upload.Kind.ValueType, max_bytes: int) -> None:
    """Have the node's agent take new bytes for a queued image."""
    if image.view.status != View.STATUS_QUEUED:
        word = View.Status.Name(image.view.status).removeprefix("STATUS_").lower()
        raise Conflict(
            f"Image status transition from {word} to saving is not allowed", reason="NOT_QUEUED", status=word
        )
    if not image.spec.disk_format or not image.spec.container_format:
        raise InvalidArgument(
            "Properties disk_format, container_format must be set prior to saving data.", field="disk_format"
        )
    image.node = node
    image.upload.Clear()
    image.upload.id = uuid.uuid4().hex
    image.upload.kind = kind
    image.upload.max_bytes = max_bytes
    image.upload.begin_time.FromDatetime(datetime.now(UTC))
    if rules.AGENT not in image.meta.finalizers:
        image.meta.finalizers.append(rules.AGENT)


def unbind(image: pb.Image) -> None:
    """Make it a queued image again; its agent drops what it has of it."""
    image.ClearField("node")
    image.ClearField("upload")
    kept = [name for name in image.meta.finalizers if name != rules.AGENT]
    del image.meta.finalizers[:]
    image.meta.finalizers.extend(kept)


class Uploads:
    """BeginUpload, EndUpload, GetImageSource."""

    def __init__(self, images: Images, agents: Agents, signer: Signer, config: Config) -> None:
        self._images = images
        self._agents = agents
        self._signer = signer
        self._max_bytes = config.image.max_bytes

    async def begin(self, request: pb.BeginUploadRequest, caller: Caller) -> pb.BeginUploadResponse:
        if request.size_bytes < 0 or request.size_bytes > self._max_bytes:
            raise InvalidArgument(
                f"The image exceeds the maximum size of {self._max_bytes} bytes.",
                field="size",
                reason="IMAGE_TOO_LARGE",
            )
        kind = Upload.KIND_STAGE if request.stage else Upload.KIND_PUT
        if request.store:
            check_store(request.store)
        life: node_pb2.Life | None = None

        def change(image: pb.Image, txn: Transaction) -> None:
            nonlocal life
            life = self._agents.choose(request.size_bytes)
            bind(image, life.node, kind, self._max_bytes)

        image = await self._images.change(request.id, caller, "upload_image", change)
        assert life is not None
        claims = {"image": image.meta.id, "may": "write", "upload": image.upload.id}
        return pb.BeginUploadResponse(
            upload_id=image.upload.id, address=life.address, ticket=self._signer.sign(claims, TICKET_S)
        )

    async def end(self, request: pb.EndUploadRequest, caller: Caller) -> pb.Image:
        await self._images.store.fresh(None)  # the agent has reported before it answered
        image = self._images.find(request.id, caller)
        if image.upload.id != request.upload_id or not rules.stored(image):
            raise FailedPrecondition("The upload is not complete.", reason="UPLOAD_INCOMPLETE", id=request.id)
        return image

    async def source(self, request: pb.GetImageSourceRequest, caller: Caller) -> pb.ImageSource:
        image = self._images.find(request.id, caller)
        self._images.policy.enforce(caller, "download_image", self._images.seen_by(caller, image))
        if not (image.spec.deactivated and caller.is_admin):
            rules.check_data(image)
        return self.source_of(image)

    def source_of(self, image: pb.Image) -> pb.ImageSource:
        """Where to read the image, for whom may. Raises Unavailable."""
        claims = {"image": image.meta.id, "may": "read"}
        if image.upload.id:
            life = self._agents.at(image.node)
        else:
            life = self._agents.choose()
            claims["url"] = image.spec.locations[0].url
        view = image.view
        return pb.ImageSource(
            image_id=image.meta.id,
            address=life.address,
            ticket=self._signer.sign(claims, TICKET_S),
            size_bytes=view.size_bytes,
            sha512=view.hash_value if view.hash_algo == "sha512" else "",
            checksum=view.checksum,
            disk_format=image.spec.disk_format,
        )
