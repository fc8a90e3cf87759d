"""Negotiation of microversions."""

import pytest

from gateway.core.fault import Fault
from gateway.core.microversion import Microversions, Range

COMPUTE = Microversions("compute", "2.1", "2.96", legacy="x-openstack-nova-api-version")


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({}, (2, 1)),
        ({"openstack-api-version": "compute 2.79"}, (2, 79)),
        ({"openstack-api-version": "Compute latest"}, (2, 96)),
        ({"openstack-api-version": "volume 3.59, compute 2.10"}, (2, 10)),
        ({"openstack-api-version": "volume 3.59"}, (2, 1)),
        ({"x-openstack-nova-api-version": "2.37"}, (2, 37)),
        ({"x-openstack-nova-api-version": "2.37", "openstack-api-version": "compute 2.38"}, (2, 38)),
    ],
)
def test_what_is_asked_for(headers: dict[str, str], version: tuple[int, int]) -> None:
    assert COMPUTE.negotiate(headers) == version


@pytest.mark.parametrize(
    ("asked", "status"),
    [(asked, 406) for asked in ("2.97", "2.0", "1.1", "3.1")]
    + [(asked, 400) for asked in ("", "2", "2.1.1", "x", "2.01x", "-2.1", "\u0662.1", "2.99999999999")],
)
def test_what_cannot_be(asked: str, status: int) -> None:
    with pytest.raises(Fault) as caught:
        COMPUTE.negotiate({"openstack-api-version": f"compute {asked}"})
    assert caught.value.status == status


def test_the_answer_says_which() -> None:
    assert COMPUTE.answer((2, 10)) == {
        "openstack-api-version": "compute 2.10",
        "x-openstack-nova-api-version": "2.10",
        "vary": "OpenStack-API-Version, X-Openstack-Nova-Api-Version",
    }


def test_ranges_include_their_ends() -> None:
    assert [version in Range("2.9", "2.10") for version in ((2, 8), (2, 9), (2, 10), (2, 11))] == [
        False,
        True,
        True,
        False,
    ]
    assert (0, 0) in Range()
    assert (0, 0) not in Range(since="2.1")
