"""Users: their domain, their passwords and what goes with them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from fabric.identity.collection import (
    ACCESS_RULES,
    APPLICATION_CREDENTIALS,
    ASSIGNMENTS,
    CREDENTIALS,
    LOGINS,
    MEMBERSHIPS,
    PROJECTS,
    TRUSTS,
    USERS,
)
from fabric.identity.password import Passwords, check_form, was_used
from fabric.identity.resource import IdentityResource, check_name, domain_of, merge_struct
from fabric.identity.v1 import user_pb2
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.config import Identity
from fabric.runtime.errors import AlreadyExists, InvalidArgument, NotFound, StaleRevision, Unauthenticated
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

_REFUSED = "The request you have made requires authentication."
_TRIES = 8
Change = Callable[[user_pb2.LoginRecord], None]


def option(user: user_pb2.User, name: str) -> bool:
    """A boolean option of the user."""
    return name in user.spec.options.fields and user.spec.options.fields[name].bool_value


def now() -> Timestamp:
    """The present."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC))
    return stamp


class Users(IdentityResource[user_pb2.User]):
    """Password hashes never leave; spec.password comes in and is hashed."""

    collection = USERS
    target_name = "user"
    policies: ClassVar = {
        "create": "identity:create_user",
        "get": "identity:get_user",
        "list": "identity:list_users",
        "update": "identity:update_user",
        "delete": "identity:delete_user",
    }

    def __init__(self, store: Store, policy: Policy, config: Identity, passwords: Passwords) -> None:
        super().__init__(store, policy)
        self._config = config
        self._passwords = passwords

    # -- rules

    def own(self, caller: Caller, new: user_pb2.User) -> None:
        super().own(caller, new)
        new.spec.domain_id = new.spec.domain_id or domain_of(caller)

    async def create(self, message: user_pb2.User, caller: Caller) -> user_pb2.User:
        new = copy_of(message)
        del new.passwords[:]
        new.ClearField("tokens_after")
        own = copy_of(new)
        self.own(caller, own)
        self.enforce("create", caller, own)  # before the cost of hashing
        if new.spec.has_password:
            await self._set_password(new, new.spec.password, None, by_user=False)
        return await super().create(new, caller)

    async def update(self, message: user_pb2.User, mask: FieldMask, caller: Caller) -> user_pb2.User:
        paths = [path for path in mask.paths if path not in ("passwords", "tokens_after")]
        if "spec.password" not in paths and "spec.has_password" not in paths:
            return await super().update(message, FieldMask(paths=paths), caller)
        old = self.find(message.meta.id, caller, "update")
        self.enforce("update", caller, old)
        new = copy_of(message)
        del new.passwords[:]
        if message.spec.has_password:
            await self._set_password(new, message.spec.password, old, by_user=False)
        new.tokens_after.CopyFrom(now())
        kept = [path for path in paths if path not in ("spec.password", "spec.has_password")]
        return await super().update(new, FieldMask(paths=[*kept, "passwords", "tokens_after"]), caller)

    def accept(self, caller: Caller, new: user_pb2.User, old: user_pb2.User | None, txn: Transaction) -> None:
        check_name(new.meta.name, 255)
        new.spec.ClearField("password")
        new.spec.ClearField("has_password")
        if old is not None and new.spec.domain_id != old.spec.domain_id:
            raise InvalidArgument("Cannot change domain of a user.", field="domain_id")
        domain = self.store.find(PROJECTS, new.spec.domain_id)
        if domain is None or not domain.spec.is_domain:
            raise NotFound(f"Could not find domain: {new.spec.domain_id}.", reason="DOMAIN_NOT_FOUND")
        txn.expect(PROJECTS, domain)
        if old is not None:
            merge_struct(new.extra, old.extra)
            merge_struct(new.spec.options, old.spec.options, null_removes=True)
            if old.spec.enabled and not new.spec.enabled:
                new.tokens_after.CopyFrom(now())
        if new.spec.default_project_id and (
            old is None or new.spec.default_project_id != old.spec.default_project_id
        ):
            project = self.store.find(PROJECTS, new.spec.default_project_id)
            if project is not None and project.spec.is_domain:
                raise InvalidArgument(
                    "User's default project ID cannot be a domain ID.", field="default_project_id"
                )

    def check_delete(self, caller: Caller, old: user_pb2.User, txn: Transaction) -> None:
        remove_user(self.store, txn, old.meta.id)

    def present(self, caller: Caller, message: user_pb2.User) -> user_pb2.User:
        return without_secrets(message)

    # -- passwords

    async def verify(self, user: user_pb2.User, password: str, *, may_be_expired: bool = False) -> None:
        """Raise Unauthenticated unless it is the user's password, the account is not locked and it has not expired."""
        self._check_locked(user)
        hashed = user.passwords[-1].hash if user.passwords else ""
        if not await self._passwords.matches(password, hashed):
            await self._failed(user)
            raise Unauthenticated(_REFUSED)
        expires = user.HasField("password_expires_time") and not may_be_expired
        if expires and user.password_expires_time.ToDatetime(UTC) <= datetime.now(UTC):
            raise Unauthenticated(
                f"The password is expired and needs to be changed for user: {user.meta.id}."
            )
        await self._succeeded(user)

    async def change_password(self, user_id: str, original: str, password: str) -> None:
        """The user's own change. Raises Unauthenticated, InvalidArgument."""
        user = self.store.find(USERS, user_id)
        domain = self.store.find(PROJECTS, user.spec.domain_id) if user is not None else None
        if user is None or not user.spec.enabled or domain is None or not domain.spec.enabled:
            raise Unauthenticated(_REFUSED)
        await self.verify(user, original, may_be_expired=True)
        if option(user, "lock_password"):
            raise InvalidArgument("The password of this user is locked.", field="password")
        self._check_age(user)
        new = user_pb2.User()
        await self._set_password(new, password, user, by_user=True)
        await self._replace_passwords(user_id, new)

    @again
    async def _replace_passwords(self, user_id: str, by: user_pb2.User) -> None:
        fresh = copy_of(self.store.get(USERS, user_id))
        del fresh.passwords[:]
        fresh.passwords.extend(by.passwords)
        fresh.tokens_after.CopyFrom(now())
        async with self.store.transaction() as txn:
            txn.update(USERS, fresh)

    async def _set_password(
        self, new: user_pb2.User, password: str, old: user_pb2.User | None, *, by_user: bool
    ) -> None:
        """Put the password's hash at the end of those that are to be remembered."""
        config = self._config
        check_form(password, config.password_regex, config.password_regex_description)
        former: Sequence[user_pb2.Password] = list(old.passwords) if old is not None else []
        kept = max(config.unique_last_password_count, 1)
        if by_user and config.unique_last_password_count > 0:
            hashes = [known.hash for known in former[-config.unique_last_password_count :]]
            if await was_used(self._passwords, password, hashes):
                raise InvalidArgument(
                    "The new password cannot be identical to a previous password. The total number which "
                    f"includes the new password must be unique is {config.unique_last_password_count}.",
                    field="password",
                )
        made = user_pb2.Password(hash=await self._passwords.hash(password), self_service=by_user)
        made.create_time.CopyFrom(now())
        if config.password_expires_days > 0:
            made.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=config.password_expires_days))
        options = new.spec.options if old is None else old.spec.options
        exempt = "ignore_change_password_upon_first_use"
        if config.change_password_upon_first_use and not by_user and exempt not in options.fields:
            made.expire_time.CopyFrom(made.create_time)
        del new.passwords[:]
        new.passwords.extend([*former, made][-kept:])

    def _check_age(self, user: user_pb2.User) -> None:
        days = self._config.minimum_password_age_days
        if not days or not user.passwords or not user.passwords[-1].self_service:
            return
        until = user.passwords[-1].create_time.ToDatetime(UTC) + timedelta(days=days)
        if datetime.now(UTC) < until:
            raise InvalidArgument(
                f"Cannot change password before minimum age {days} days is met ({until:%Y-%m-%dT%H:%M:%SZ}).",
                field="password",
            )

    # -- what logins leave behind

    def _check_locked(self, user: user_pb2.User) -> None:
        limit = self._config.lockout_failure_attempts
        record = self.store.find(LOGINS, user.meta.id)
        if not limit or record is None or record.failures < limit:
            return
        if option(user, "ignore_lockout_failure_attempts"):
            return
        until = record.failure_time.ToDatetime(UTC) + timedelta(seconds=self._config.lockout_duration_s)
        if datetime.now(UTC) < until:
            # whoever has not said the password yet shall not learn that there is such a user
            raise Unauthenticated(_REFUSED, cause="the account is locked")

    async def _failed(self, user: user_pb2.User) -> None:
        if not self._config.lockout_failure_attempts:
            return

        def change(record: user_pb2.LoginRecord) -> None:
            if record.failures >= self._config.lockout_failure_attempts:
                record.failures = 0  # the lock has ended
            record.failures += 1
            record.failure_time.CopyFrom(now())

        await self._record(user.meta.id, change)

    async def _succeeded(self, user: user_pb2.User) -> None:
        record = self.store.find(LOGINS, user.meta.id)
        stale = self._config.disable_user_account_days_inactive > 0 and (
            record is None or record.active_time.ToDatetime(UTC).date() != datetime.now(UTC).date()
        )
        if not stale and (record is None or not record.failures):
            return

        def change(record: user_pb2.LoginRecord) -> None:
            record.failures = 0
            record.active_time.CopyFrom(now())

        await self._record(user.meta.id, change)

    async def _record(self, user_id: str, change: Change) -> None:
        for _ in range(_TRIES):
            found = self.store.find(LOGINS, user_id)
            record = user_pb2.LoginRecord() if found is None else copy_of(found)
            record.meta.id = user_id
            change(record)
            try:
                async with self.store.transaction() as txn:
                    if found is None:
                        txn.create(LOGINS, record)
                    else:
                        txn.update(LOGINS, record)
            except (StaleRevision, AlreadyExists):
                continue
            return


def without_secrets(user: user_pb2.User) -> user_pb2.User:
    """A copy for callers."""
    shown = copy_of(user)
    del shown.passwords[:]
    shown.ClearField("tokens_after")
    return shown


def remove_user(store: Store, txn: Transaction, user_id: str) -> None:
    """Take away all that goes with a user."""
    for assignment in store.table(ASSIGNMENTS).by("actor", f"user:{user_id}"):
        txn.remove(ASSIGNMENTS, assignment)
    for membership in store.table(MEMBERSHIPS).by("user", user_id):
        txn.remove(MEMBERSHIPS, membership)
    for app_cred in store.table(APPLICATION_CREDENTIALS).by("user", user_id):
        txn.remove(APPLICATION_CREDENTIALS, app_cred)
    for rule in store.table(ACCESS_RULES).by("user", user_id):
        txn.remove(ACCESS_RULES, rule)
    for credential in store.table(CREDENTIALS).by("user", user_id):
        txn.remove(CREDENTIALS, credential)
    trusts = {
        t.meta.id: t for index in ("trustor", "trustee") for t in store.table(TRUSTS).by(index, user_id)
    }
    for trust in trusts.values():
        txn.remove(TRUSTS, trust)
    record = store.find(LOGINS, user_id)
    if record is not None:
        txn.remove(LOGINS, record)
