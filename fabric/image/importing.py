"""Imports: an image made of staged bytes, of a URL or of another image. Agents move the bytes."""

import re
import uuid

from fabric.image import task as tasks
from fabric.image.address import check_public
from fabric.image.image import STORE
from fabric.image.images import Images
from fabric.image.upload import Agents, Uploads, bind, check_store
from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1 import task_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.config import Config
from fabric.runtime.errors import Conflict, FabricError, InvalidArgument
from fabric.runtime.store import Transaction

METHODS = ("glance-direct", "web-download", "glance-download", "copy-image")
MAX_BYTES = 100 << 10  # of a request
# What an image gets from the image that it is a copy of, besides its formats.
COPIED_PROPERTIES = ("hw_", "trait:", "os_distro", "os_secure_boot", "os_type")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_INTERFACES = ("public", "internal", "admin")

Upload, View, Status = pb.Upload, pb.ImageView, pb.ImageStatus


class Imports:
    """ImportImage, and the administrators' CreateTask."""

    def __init__(self, images: Images, agents: Agents, uploads: Uploads, config: Config) -> None:
        self._images = images
        self._agents = agents
        self._uploads = uploads
        self._max_bytes = config.image.max_bytes
        self._region = config.bootstrap.region

    async def start(
        self, request: pb.ImportImageRequest, caller: Caller, kind: str = tasks.IMPORT
    ) -> pb.ImportImageResponse:
        """kind: the type of the task."""
        if request.method not in METHODS:
            raise InvalidArgument(f"Unknown import method name '{request.method[:64]}'.", field="method")
        self._check_stores(request)
        if request.ByteSize() > MAX_BYTES:
            raise InvalidArgument(f"The request has more than {MAX_BYTES} bytes.", field="request")
        task_id = str(uuid.uuid4())
        match request.method:
            case "glance-direct":
                await self._of_staged(request, caller, task_id)
            case "web-download":
                await check_public(request.uri)
                await self._of_url(request, caller, task_id, kind)
            case "glance-download":
                await self._of_image(request, caller, task_id)
            case _:
                await self._copy(request, caller, task_id)
        return pb.ImportImageResponse(task_id=task_id)

    def _check_stores(self, request: pb.ImportImageRequest) -> None:
        if request.all_stores and request.stores:
            raise InvalidArgument("'stores' and 'all_stores' are mutually exclusive.", field="stores")
        for name in request.stores:
            check_store(name)

    def _begin(
        self,
        image: pb.Image,
        txn: Transaction,
        request: pb.ImportImageRequest,
        caller: Caller,
        task_id: str,
        kind: str = tasks.IMPORT,
    ) -> None:
        image.upload.task_id = task_id
        image.import_mark.importing, image.import_mark.failed = STORE, ""
        given = {"backend": [STORE]}
        tasks.note(txn, caller, id_=task_id, image=image, given=given, request=request.request, kind=kind)

    def _note(
        self,
        image: pb.Image,
        txn: Transaction,
        request: pb.ImportImageRequest,
        caller: Caller,
        task_id: str,
        problem: str = "",
    ) -> None:
        """An import that has ended before it began."""
        state = task_pb2.Task.STATE_FAILURE if problem else task_pb2.Task.STATE_SUCCESS
        tasks.note(
            txn,
            caller,
            id_=task_id,
            image=image,
            given={"backend": [STORE]},
            request=request.request,
            state=state,
            message=problem,
        )

    async def _of_staged(self, request: pb.ImportImageRequest, caller: Caller, task_id: str) -> None:
        def change(image: pb.Image, txn: Transaction) -> None:
            if image.view.status != View.STATUS_UPLOADING or image.status.state != Status.STATE_STORED:
                raise Conflict(
                    "Image needs to be staged before 'glance-direct' method can be used.", reason="NOT_STAGED"
                )
            self._begin(image, txn, request, caller, task_id)

        await self._images.change(request.id, caller, "modify_image", change)

    async def _of_url(self, request: pb.ImportImageRequest, caller: Caller, task_id: str, kind: str) -> None:
        def change(image: pb.Image, txn: Transaction) -> None:
            bind(image, self._agents.choose().node, Upload.KIND_DOWNLOAD, self._max_bytes)
            image.upload.url = request.uri
            self._begin(image, txn, request, caller, task_id, kind)

        await self._images.change(request.id, caller, "modify_image", change)

    async def _of_image(self, request: pb.ImportImageRequest, caller: Caller, task_id: str) -> None:
        """From another image of this cloud; another cloud's cannot be reached, and its task says so."""
        if not _UUID.fullmatch(request.source_image_id):
            raise InvalidArgument(
                "glance image id does not look like a UUID: "
                f"{request.source_image_id[:64]!r} (image id does not look like a UUID)",
                field="glance_image_id",
            )
        source, problem = self._find_source(request, caller)

        def change(image: pb.Image, txn: Transaction) -> None:
            if image.view.status != View.STATUS_QUEUED:
                raise Conflict("The image is not queued.", reason="NOT_QUEUED")
            if source is None:
                self._note(image, txn, request, caller, task_id, problem)
                return
            image.spec.disk_format = source.spec.disk_format
            image.spec.container_format = source.spec.container_format
            for name, value in source.spec.properties.items():
                if name.startswith(COPIED_PROPERTIES):
                    image.spec.properties[name] = value
            bind(image, self._agents.choose().node, Upload.KIND_COPY, self._max_bytes)
            image.upload.source.CopyFrom(self._uploads.source_of(source))
            self._begin(image, txn, request, caller, task_id)

        await self._images.change(request.id, caller, "modify_image", change)

    def _find_source(self, request: pb.ImportImageRequest, caller: Caller) -> tuple[pb.Image | None, str]:
        if request.source_region != self._region or (request.source_interface or "public") not in _INTERFACES:
            return None, f"There is no image service in the region {request.source_region[:64]!r}."
        try:
            source = self._images.find(request.source_image_id, caller)
            self._images.policy.enforce(caller, "download_image", self._images.seen_by(caller, source))
        except FabricError as error:
            return None, error.message
        if source.view.status != View.STATUS_ACTIVE:
            return None, f"Image {source.meta.id} is not active."
        return source, ""

    async def _copy(self, request: pb.ImportImageRequest, caller: Caller, task_id: str) -> None:
        """There is one store for copies, and what is active is in it (or at locations, and stays there)."""

        def change(image: pb.Image, txn: Transaction) -> None:
            if image.view.status != View.STATUS_ACTIVE:
                raise Conflict(
                    "Only images with status active can be targeted for copying", reason="NOT_ACTIVE"
                )
            image.import_mark.importing, image.import_mark.failed = "", ""
            self._note(image, txn, request, caller, task_id)

        await self._images.change(request.id, caller, "copy_image", change)
