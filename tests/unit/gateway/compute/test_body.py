"""What bodies may hold, and how the refusal says it."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compute import body, server_action, server_create
from gateway.core.fault import Invalid

NEW, OLD = (2, 96), (2, 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
SERVER = {
    "name": "a",
    "flavorRef": "1",
    "imageRef": "b4376cdd-f30a-4ca1-abac-f4aba1ecbc9b",
    "networks": "none",
}


@given(value=JSON, version=st.sampled_from([OLD, (2, 37), (2, 63), NEW]))
def test_any_json_is_a_server_or_refused(value: Any, version: body.Version) -> None:
    with pytest.raises(Invalid):
        server_create.SERVER(value, "server", version)


@given(name=st.sampled_from(sorted(server_action.ACTIONS)), value=JSON)
def test_any_json_is_an_action_or_refused(name: str, value: Any) -> None:
    rule = server_action.ACTIONS[name][1]
    with suppress(Invalid):
        rule(value, name, NEW)


@given(
    extra=st.dictionaries(st.sampled_from([*SERVER, "metadata", "tags", "user_data", "personality"]), JSON)
)
def test_a_server_with_something_else_in_it_is_taken_or_refused(extra: dict[str, Any]) -> None:
    with suppress(Invalid):
        server_create.SERVER({**SERVER, **extra}, "server", NEW)


def test_properties_come_and_go_with_microversions() -> None:
    with pytest.raises(Invalid, match="'description' was unexpected"):
        server_create.SERVER({**SERVER, "networks": [], "description": "d"}, "server", (2, 18))
    assert server_create.SERVER({**SERVER, "networks": [], "description": "d"}, "server", (2, 19))
    with pytest.raises(Invalid, match="not of type 'array'"):
        server_create.SERVER(SERVER, "server", (2, 36))
    with pytest.raises(Invalid, match="'personality' was unexpected"):
        server_create.SERVER({**SERVER, "personality": []}, "server", NEW)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match="'flavorRef' is a required property"):
        server_create.SERVER({"name": "a"}, "server", OLD)


def test_a_refusal_does_not_repeat_what_may_be_secret() -> None:
    with pytest.raises(Invalid) as refused:
        server_create.SERVER({**SERVER, "adminPass": "hunter2", "foo": 1}, "server", NEW)
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("value", [" a", "a ", "", "a\nb", "\x00", 1, None, "a" * 256])
def test_names_have_no_blanks_around_them(value: Any) -> None:
    with pytest.raises(Invalid, match="name"):
        body.label()(value, "name", NEW)


@pytest.mark.parametrize(("value", "found"), [(True, True), ("True", True), ("off", False), ("0", False)])
def test_booleans_come_as_words_too(value: Any, found: bool) -> None:
    assert body.boolean(value, "x", NEW) is found


@pytest.mark.parametrize("value", [10**30, -(10**30), 1.5, True, "x", None, []])
def test_integers_stay_in_their_bounds(value: Any) -> None:
    with pytest.raises(Invalid):
        body.integer(0)(value, "x", NEW)
