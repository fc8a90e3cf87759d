"""The rules of images as a resource: who sees, makes and changes them."""

from collections.abc import Callable
from typing import Any, ClassVar

from google.protobuf import field_mask_pb2

from fabric.image import image as rules
from fabric.image.image import IMAGES
from fabric.image.location import check_locations
from fabric.image.v1 import image_pb2 as pb
from fabric.runtime import query
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Transaction
from fabric.type.v1.query_pb2 import Query

Spec, Member = pb.ImageSpec, pb.Member
_WORDS = {name.removeprefix("VISIBILITY_").lower(): value for name, value in Spec.Visibility.items()}
_NAMES = {value: name for name, value in _WORDS.items()}
_STATES = {name.removeprefix("STATE_").lower(): value for name, value in Member.State.items()}
_OPEN = (Spec.VISIBILITY_PUBLIC, Spec.VISIBILITY_COMMUNITY)
_WRITABLE = frozenset(
    {
        "meta.name",
        "meta.project_id",
        "meta.tags",
        *(
            f"spec.{field.name}"
            for field in Spec.DESCRIPTOR.fields
            if field.name not in ("deactivated", "declared")
        ),
    }
)


def membership(image: pb.Image, project_id: str) -> pb.Member | None:
    """How the image is shared with the project."""
    if image.spec.visibility != Spec.VISIBILITY_SHARED or not project_id:
        return None
    return next((member for member in image.members if member.project_id == project_id), None)


class Images(Resource[pb.Image]):
    """Create, get, list, update, delete."""

    collection = IMAGES
    policies: ClassVar = {
        "create": "add_image",
        "get": "get_image",
        "list": "get_images",
        "update": "modify_image",
        "delete": "delete_image",
    }

    def target(self, message: pb.Image) -> dict[str, Any]:
        return {
            "project_id": message.meta.project_id,
            "owner": message.meta.project_id,
            "visibility": _NAMES.get(message.spec.visibility or Spec.VISIBILITY_SHARED, ""),
            "member_id": "",
        }

    def seen_by(self, caller: Caller, image: pb.Image) -> dict[str, Any]:
        """The target of rules that let in those with whom it is shared."""
        member = membership(image, caller.project_id)
        return self.target(image) | {"member_id": member.project_id if member is not None else ""}

    def visible(self, caller: Caller, message: pb.Image) -> bool:
        if message.meta.HasField("delete_time"):
            return False
        return (
            message.meta.project_id == caller.project_id
            or message.spec.visibility in _OPEN
            or membership(message, caller.project_id) is not None
            or caller.is_admin
        )

    async def get(self, id_: str, caller: Caller) -> pb.Image:
        image = self.find(id_, caller)
        if not self.policy.allows(caller, "get_image", self.seen_by(caller, image)):
            raise self.missing(id_)
        return self.present(caller, image)

    def present(self, caller: Caller, message: pb.Image) -> pb.Image:
        """Where the bytes are is for those who may know it: a location may hold a password."""
        if not message.view.locations or message.meta.project_id == caller.project_id:
            return message
        if self.policy.allows(caller, "get_image_location", self.target(message)):
            return message
        shown = copy_of(message)
        del shown.view.locations[:]
        del shown.spec.locations[:]
        return shown

    def missing(self, id_: str) -> NotFound:
        return NotFound(f"No image found with ID {id_}", reason="IMAGE_NOT_FOUND", id=id_)

    def find(self, id_: str, caller: Caller) -> pb.Image:
        found = self.store.find(IMAGES, id_)
        if found is None or not self.visible(caller, found):
            raise self.missing(id_)
        return found

    # -- lists

    async def list_images(self, request: pb.ListImagesRequest, caller: Caller) -> pb.ListImagesResponse:
        """Without a visibility: own, public and accepted shared ones; for an admin all but community ones."""
        self.enforce_list(caller)
        seen = self._listed(request, caller)
        page, marker = query.select(seen, self._marked(request.query, caller), pb.Image)
        return pb.ListImagesResponse(
            images=[self.present(caller, image) for image in page], next_marker=marker
        )

    def _marked(self, asked: Query, caller: Caller) -> Query:
        if asked.marker:
            try:
                self.find(asked.marker, caller)
            except NotFound as error:
                raise InvalidArgument(error.message, field="marker") from error
        return asked

    def _listed(self, request: pb.ListImagesRequest, caller: Caller) -> list[pb.Image]:
        table = self.store.table(IMAGES)
        mine = caller.project_id
        state = _STATES.get(request.member_status or "accepted")
        if state is None and request.member_status != "all":
            raise InvalidArgument(
                f"Invalid status: {request.member_status[:64]!r}: not pending, accepted, rejected or all.",
                field="member_status",
            )
        if request.visibility not in ("", "all", *_WORDS):
            raise InvalidArgument(
                f"Invalid visibility value: {request.visibility[:64]!r}: must be public, private, shared, "
                "community or all.",
                field="visibility",
            )
        if caller.is_admin:
            found = list(table)
        else:
            by_id = {image.meta.id: image for image in table.by("project", mine)} if mine else {}
            for visibility in _OPEN:
                by_id |= {i.meta.id: i for i in table.by("visibility", Spec.Visibility.Name(visibility))}
            for image in table.by("member", mine) if mine else ():
                member = membership(image, mine)
                if member is not None and state in (None, member.state):
                    by_id[image.meta.id] = image
            found = list(by_id.values())
        return [image for image in found if self._asked(request.visibility, image, mine)]

    def _asked(self, visibility: str, image: pb.Image, mine: str) -> bool:
        if image.meta.HasField("delete_time"):
            return False
        if visibility == "all":
            return True
        if visibility:
            return image.spec.visibility == _WORDS[visibility]
        return image.spec.visibility != Spec.VISIBILITY_COMMUNITY or image.meta.project_id == mine

    # -- writes

    async def update(self, message: pb.Image, mask: field_mask_pb2.FieldMask, caller: Caller) -> pb.Image:
        for path in mask.paths:
            if path not in _WRITABLE and not path.startswith("spec.properties."):
                raise InvalidArgument(f"{path!r} cannot be updated.", field=path)
        return await super().update(message, mask, caller)

    def accept(self, caller: Caller, new: pb.Image, old: pb.Image | None, txn: Transaction) -> None:
        if old is None:
            for name in ("node", "upload", "members", "import_mark"):
                new.ClearField(name)
            new.spec.ClearField("declared")
            new.spec.deactivated = False
            if not new.meta.project_id and not caller.is_admin:
                raise PermissionDenied("You are not permitted to create images owned by ''.", field="owner")
        rules.check(new)
        if old is not None:
            rules.check_change(new, old)
            if new.meta.project_id != old.meta.project_id and not caller.is_admin:
                raise PermissionDenied("Owner change is not permitted.", field="owner")
        self._check_visibility(caller, new, old)
        check_locations(self.policy, caller, self.target(new), new, old)

    def _check_visibility(self, caller: Caller, new: pb.Image, old: pb.Image | None) -> None:
        if old is not None and new.spec.visibility == old.spec.visibility:
            return
        rule = {
            Spec.VISIBILITY_PUBLIC: "publicize_image",
            Spec.VISIBILITY_COMMUNITY: "communitize_image",
        }.get(new.spec.visibility)
        if rule:
            self.policy.enforce(caller, rule, self.target(new))

    def check_delete(self, caller: Caller, old: pb.Image, txn: Transaction) -> None:
        if old.spec.protected:
            raise PermissionDenied(
                f"Image {old.meta.id} is protected and cannot be deleted.", reason="PROTECTED", id=old.meta.id
            )

    @again
    async def change(
        self, id_: str, caller: Caller, rule: str, change: Callable[[pb.Image, Transaction], None]
    ) -> pb.Image:
        """Let change alter a copy of the image, under a policy rule; again when somebody else was faster."""
        old = self.find(id_, caller)
        self.policy.enforce(caller, rule, self.seen_by(caller, old))
        new = copy_of(old)
        new.meta.request_id = caller.request_id
        async with self.store.transaction() as txn:
            change(new, txn)
            txn.update(IMAGES, new)
        return self.kept(new)
