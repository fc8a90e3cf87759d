"""OAuth 1.0a consumers."""

import secrets
from typing import Any, ClassVar

from fabric.identity.collection import CONSUMERS
from fabric.identity.resource import IdentityResource, merge_struct
from fabric.identity.v1 import oauth_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Transaction


class Consumers(IdentityResource[oauth_pb2.Consumer]):
    """The secret is told once."""

    collection = CONSUMERS
    domain_field = False
    policies: ClassVar = {
        "create": "identity:create_consumer",
        "get": "identity:get_consumer",
        "list": "identity:list_consumers",
        "update": "identity:update_consumer",
        "delete": "identity:delete_consumer",
    }

    async def create(self, message: oauth_pb2.Consumer, caller: Caller) -> oauth_pb2.Consumer:
        new = copy_of(message)
        new.secret = secrets.token_hex(32)
        made = copy_of(await super().create(new, caller))
        made.secret = new.secret
        return made

    def accept(
        self, caller: Caller, new: oauth_pb2.Consumer, old: oauth_pb2.Consumer | None, txn: Transaction
    ) -> None:
        if old is not None:
            new.secret = old.secret
            merge_struct(new.extra, old.extra)

    def present(self, caller: Caller, message: oauth_pb2.Consumer) -> Any:
        shown = copy_of(message)
        shown.ClearField("secret")
        return shown
