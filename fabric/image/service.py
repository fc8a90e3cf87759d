"""The image service: its collections and RPCs."""

import uuid

from fabric.image import image as rules
from fabric.image import location
from fabric.image import task as tasks
from fabric.image.address import check_public
from fabric.image.image import IMAGES
from fabric.image.images import Images
from fabric.image.importing import Imports
from fabric.image.member import Members
from fabric.image.metadef import Namespaces
from fabric.image.task import Tasks
from fabric.image.upload import Agents, Uploads
from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1 import member_pb2, metadef_pb2, task_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.policy import Policy
from fabric.runtime.resource import methods
from fabric.runtime.rpc import Server
from fabric.runtime.store import Store, Transaction
from fabric.runtime.ticket import Signer

PUBLIC: frozenset[str] = frozenset()

View, Upload = pb.ImageView, pb.Upload


def register(server: Server, store: Store, policy: Policy, config: Config, client: Client) -> None:
    """Serve images, their members and tasks."""
    images = Images(store, policy)
    agents = Agents(store)
    uploads = Uploads(images, agents, Signer.of(config.controller.master_key_file), config)
    imports = Imports(images, agents, uploads, config)
    service = pb.DESCRIPTOR.services_by_name["ImageService"]
    server.add(service, methods(service, {"Image": images}, ImageRpcs(images, uploads, imports)))
    service = member_pb2.DESCRIPTOR.services_by_name["MemberService"]
    server.add(service, methods(service, {}, Members(images)))
    service = metadef_pb2.DESCRIPTOR.services_by_name["MetadefService"]
    server.add(service, methods(service, {}, Namespaces(store, policy)))
    service = task_pb2.DESCRIPTOR.services_by_name["TaskService"]
    server.add(service, methods(service, {}, TaskRpcs(Tasks(store, policy), images, imports)))


class ImageRpcs:
    """What ImageService has beside create, get, update and delete."""

    def __init__(self, images: Images, uploads: Uploads, imports: Imports) -> None:
        self._images = images
        self.BeginUpload = uploads.begin
        self.EndUpload = uploads.end
        self.GetImageSource = uploads.source
        self.ImportImage = imports.start
        self.ListImages = images.list_images

    async def AddImageTag(self, request: pb.AddImageTagRequest, caller: Caller) -> pb.Image:
        def change(image: pb.Image, txn: Transaction) -> None:
            if request.tag not in image.meta.tags:
                image.meta.tags.append(request.tag)
            rules.check_tags(image)

        return await self._images.change(request.id, caller, "modify_image", change)

    async def RemoveImageTag(self, request: pb.RemoveImageTagRequest, caller: Caller) -> pb.Image:
        def change(image: pb.Image, txn: Transaction) -> None:
            if request.tag not in image.meta.tags:
                raise NotFound(f"Image {request.id} has no tag {request.tag[:64]!r}.", reason="TAG_NOT_FOUND")
            image.meta.tags.remove(request.tag)

        return await self._images.change(request.id, caller, "modify_image", change)

    async def AddImageLocation(self, request: pb.AddImageLocationRequest, caller: Caller) -> pb.Image:
        def change(image: pb.Image, txn: Transaction) -> None:
            if request.with_task and image.view.status != View.STATUS_QUEUED:
                raise Conflict("Only queued images can be given a location.", reason="NOT_QUEUED")
            location.add(image, request.location, request.declared, request.position)
            rules.check(image)
            if request.with_task:
                tasks.note(
                    txn,
                    caller,
                    id_=str(uuid.uuid4()),
                    image=image,
                    given={"loc_url": request.location.url},
                    request=pb.ImportImageRequest().request,
                    state=task_pb2.Task.STATE_SUCCESS,
                )

        rule = "add_image_location" if request.with_task else "set_image_location"
        return await self._images.change(request.id, caller, rule, change)

    async def RemoveImageLocation(self, request: pb.RemoveImageLocationRequest, caller: Caller) -> pb.Image:
        return await self._images.change(
            request.id,
            caller,
            "delete_image_location",
            lambda image, txn: location.remove(image, request.position),
        )

    async def DeactivateImage(self, request: pb.DeactivateImageRequest, caller: Caller) -> pb.Image:
        return await self._activate(request.id, caller, "deactivate", deactivated=True)

    async def ReactivateImage(self, request: pb.ReactivateImageRequest, caller: Caller) -> pb.Image:
        return await self._activate(request.id, caller, "reactivate", deactivated=False)

    async def _activate(self, id_: str, caller: Caller, rule: str, *, deactivated: bool) -> pb.Image:
        def change(image: pb.Image, txn: Transaction) -> None:
            if not rules.is_active(image):
                word = View.Status.Name(image.view.status).removeprefix("STATUS_").lower()
                raise PermissionDenied(
                    f"Not allowed to {rule} image in status '{word}'", reason="FORBIDDEN", status=word
                )
            image.spec.deactivated = deactivated

        return await self._images.change(id_, caller, rule, change)

    async def DeleteImageFromStore(self, request: pb.DeleteImageFromStoreRequest, caller: Caller) -> pb.Image:
        image = self._images.find(request.id, caller)
        self._images.enforce("delete", caller, image)
        if request.store not in (rules.STORE, rules.HTTP_STORE):
            raise NotFound(f"Store {request.store[:64]!r} does not exist.", reason="STORE_NOT_FOUND")
        if image.spec.protected:
            raise PermissionDenied(f"Image {request.id} is protected.", reason="PROTECTED")
        if image.view.status != View.STATUS_ACTIVE:
            raise Conflict("Only active images can be deleted from a store.", reason="NOT_ACTIVE")
        if request.store not in image.view.stores.split(","):
            raise NotFound(
                f"Image {request.id} is not stored on store {request.store[:64]}.", reason="NOT_IN_STORE"
            )
        raise PermissionDenied(
            f"Cannot delete image data from the only store containing it. Consider deleting image "
            f"{request.id} instead.",
            reason="LAST_STORE",
        )

    async def ListStores(self, request: pb.ListStoresRequest, caller: Caller) -> pb.ListStoresResponse:
        if request.detail:
            self._images.policy.enforce(caller, "stores_info_detail", {"project_id": caller.project_id})
        return pb.ListStoresResponse(
            stores=[
                pb.Store(id=rules.STORE, description="The image agents of the cloud", default=True),
                pb.Store(id=rules.HTTP_STORE, description="Locations on the web", read_only=True),
            ]
        )

    async def GetUsage(self, request: pb.GetUsageRequest, caller: Caller) -> pb.Usage:
        if not caller.project_id:
            raise InvalidArgument("The usage is that of a project.", field="project_id")
        store = self._images.store
        mine = store.table(IMAGES).by("project", caller.project_id)
        quota = store.quota(caller.project_id, "image.image")
        going = [image for image in mine if image.upload.id and not rules.is_active(image)]
        staged = [image for image in going if image.upload.kind == Upload.KIND_STAGE]
        return pb.Usage(
            image_count=quota.usage,
            image_count_limit=quota.limit,
            image_size_bytes=sum(image.view.size_bytes for image in mine),
            uploading_count=len(going),
            staged_bytes=sum(image.status.size_bytes for image in staged),
        )


class TaskRpcs:
    """TaskService."""

    def __init__(self, tasks_: Tasks, images: Images, imports: Imports) -> None:
        self._tasks = tasks_
        self._images = images
        self._imports = imports

    async def CreateTask(self, request: task_pb2.CreateTaskRequest, caller: Caller) -> task_pb2.Task:
        """A new image, and the import of a URL into it."""
        self._images.policy.enforce(caller, "tasks_api_access", {"project_id": caller.project_id})
        await check_public(request.uri)
        image = await self._images.create(request.image, caller)
        begun = await self._imports.start(
            pb.ImportImageRequest(
                id=image.meta.id, method="web-download", uri=request.uri, request=request.input
            ),
            caller,
            kind="import",
        )
        return await self._tasks.get(begun.task_id, caller)

    async def GetTask(self, request: task_pb2.GetTaskRequest, caller: Caller) -> task_pb2.Task:
        task = await self._tasks.get(request.id, caller)
        self._tasks.enforce("get", caller, task)
        return task

    async def ListTasks(
        self, request: task_pb2.ListTasksRequest, caller: Caller
    ) -> task_pb2.ListTasksResponse:
        if request.image_id:
            self._images.find(request.image_id, caller)
        return await self._tasks.list_tasks(request, caller)
