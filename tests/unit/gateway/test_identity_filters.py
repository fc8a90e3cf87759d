"""Filters that only the Identity API has."""

import pytest

from fabric.identity.v1 import user_pb2
from fabric.runtime import query
from fabric.type.v1.query_pb2 import Query
from gateway.core.fault import Invalid
from gateway.identity.dialect import expiry


def a_user(name: str, expires_s: int = 0) -> user_pb2.User:
    user = user_pb2.User()
    user.meta.id = user.meta.name = name
    if expires_s:
        user.password_expires_time.seconds = expires_s
    return user


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("lt:2030-01-01T00:00:00Z", {"soon"}),
        ("lte:2030-01-01T00:00:00Z", {"soon", "then"}),
        ("gt:2030-01-01T00:00:00Z", {"late"}),
        ("gte:2030-01-01T00:00:00Z", {"then", "late"}),
        ("eq:2030-01-01T00:00:00Z", {"then"}),
        ("2030-01-01T00:00:00Z", {"then"}),
        ("neq:2030-01-01T00:00:00Z", {"soon", "late"}),
    ],
)
def test_users_by_the_end_of_their_password(value: str, names: set[str]) -> None:
    then_s = 1893456000  # 2030-01-01
    users = [a_user("never"), a_user("soon", then_s - 1), a_user("then", then_s), a_user("late", then_s + 1)]
    page, _ = query.select(users, Query(filters=expiry(value)), user_pb2.User)
    assert {user.meta.name for user in page} == names


@pytest.mark.parametrize(
    "value", ["", "junk", "lt:", "lt:junk", "lt:2030-13-01T00:00:00Z", "is:2030-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        expiry(value)
