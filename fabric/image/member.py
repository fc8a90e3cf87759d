"""With which projects a shared image is shared, and what they think of it."""

from datetime import UTC, datetime
from typing import Any

from fabric.image import image as rules
from fabric.image.images import Images, membership
from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1 import member_pb2 as members_pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, Exhausted, InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.store import Transaction

Spec, Member = pb.ImageSpec, pb.Member


class Members:
    """The RPCs of MemberService; members rest in their image's record."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def CreateMember(self, request: members_pb.CreateMemberRequest, caller: Caller) -> pb.Member:
        project = request.project_id
        if not project or len(project) > rules.MAX_TEXT:
            raise InvalidArgument("Member can't be empty", field="member")
        image = self._shared(request.image_id, caller)
        self._own(image, caller, "add_member")

        def change(image: pb.Image, txn: Transaction) -> None:
            if any(member.project_id == project for member in image.members):
                raise AlreadyExists(
                    f"Image member {project} already exists for image {image.meta.id}", reason="MEMBER_EXISTS"
                )
            if len(image.members) >= rules.MAX_MEMBERS:
                raise Exhausted(
                    f"The limit has been exceeded on the number of allowed image members for this image. "
                    f"Attempted: {len(image.members) + 1}, Maximum: {rules.MAX_MEMBERS}",
                    reason="TOO_MANY_MEMBERS",
                )
            made = image.members.add(project_id=project, state=Member.STATE_PENDING)
            made.create_time.FromDatetime(datetime.now(UTC))
            made.update_time.CopyFrom(made.create_time)

        image = await self._images.change(request.image_id, caller, "add_member", change)
        return self._answer(image, project)

    async def GetMember(self, request: members_pb.GetMemberRequest, caller: Caller) -> pb.Member:
        image = self._shared(request.image_id, caller)
        self._may_see(image, caller, request.project_id)
        self._images.policy.enforce(caller, "get_member", self._target(image, request.project_id))
        return self._answer(image, request.project_id)

    async def ListMembers(
        self, request: members_pb.ListMembersRequest, caller: Caller
    ) -> members_pb.ListMembersResponse:
        image = self._shared(request.image_id, caller)
        self._images.policy.enforce(caller, "get_members", self._images.seen_by(caller, image))
        mine = [m for m in image.members if self._sees(image, caller, m.project_id)]
        return members_pb.ListMembersResponse(members=[self._answer(image, m.project_id) for m in mine])

    async def UpdateMember(self, request: members_pb.UpdateMemberRequest, caller: Caller) -> pb.Member:
        image = self._shared(request.image_id, caller)
        self._may_see(image, caller, request.project_id)
        self._answer(image, request.project_id)
        if request.state not in Member.State.values()[1:]:
            raise InvalidArgument("'status' must be pending, accepted or rejected.", field="status")
        self._images.policy.enforce(caller, "modify_member", self._target(image, request.project_id))

        def change(image: pb.Image, txn: Transaction) -> None:
            for member in image.members:
                if member.project_id == request.project_id:
                    member.state = request.state
                    member.update_time.FromDatetime(datetime.now(UTC))
                    return
            raise self._unknown(image, request.project_id)

        return self._answer(
            await self._images.change(request.image_id, caller, "get_image", change), request.project_id
        )

    async def DeleteMember(self, request: members_pb.DeleteMemberRequest, caller: Caller) -> pb.Member:
        image = self._shared(request.image_id, caller)
        self._own(image, caller, "delete_member")
        gone = self._answer(image, request.project_id)

        def change(image: pb.Image, txn: Transaction) -> None:
            kept = [member for member in image.members if member.project_id != request.project_id]
            del image.members[:]
            image.members.extend(kept)

        await self._images.change(request.image_id, caller, "delete_member", change)
        return gone

    def _shared(self, id_: str, caller: Caller) -> pb.Image:
        image = self._images.find(id_, caller)
        if image.spec.visibility != Spec.VISIBILITY_SHARED:
            raise PermissionDenied("Only shared images have members.", reason="NOT_SHARED", id=id_)
        return image

    def _own(self, image: pb.Image, caller: Caller, rule: str) -> None:
        self._images.policy.enforce(caller, rule, self._images.target(image))

    def _target(self, image: pb.Image, project_id: str) -> dict[str, Any]:
        return self._images.target(image) | {"member_id": project_id}

    def _sees(self, image: pb.Image, caller: Caller, project_id: str) -> bool:
        """Members see themselves, the owner sees all."""
        return caller.is_admin or caller.project_id in (image.meta.project_id, project_id)

    def _may_see(self, image: pb.Image, caller: Caller, project_id: str) -> None:
        if not self._sees(image, caller, project_id):
            raise self._unknown(image, project_id)

    def _unknown(self, image: pb.Image, project_id: str) -> NotFound:
        return NotFound(
            f"Image member {project_id} not found for image {image.meta.id}.", reason="MEMBER_NOT_FOUND"
        )

    def _answer(self, image: pb.Image, project_id: str) -> pb.Member:
        member = membership(image, project_id)
        if member is None:
            raise self._unknown(image, project_id)
        answer = pb.Member(image_id=image.meta.id)
        answer.MergeFrom(member)
        return answer
