"""Who may go on, and who may take over: never both."""

import itertools

import pytest

from fabric.runtime.panel import is_etcd_gone, steady_since

GONE, THERE, UNREACHED = 10.0, 0.5, None


@pytest.mark.parametrize(
    ("silences", "gone"),
    [
        ([], False),
        ([GONE], True),
        ([THERE], False),
        ([GONE, UNREACHED], False),
        ([GONE, GONE], True),
        ([GONE, UNREACHED, UNREACHED], False),
        ([GONE, GONE, UNREACHED], True),
        ([GONE, GONE, THERE], True),
        ([GONE, THERE, THERE], False),
        ([float("inf"), float("inf"), THERE], True),
        ([GONE, GONE, UNREACHED, UNREACHED], False),
    ],
)
def test_etcd_is_gone_when_most_of_the_panel_says_so(silences: list[float | None], gone: bool) -> None:
    assert is_etcd_gone(silences, 3.0) is gone


@pytest.mark.parametrize(
    ("alive", "since"),
    [
        ([], 0.0),
        ([7.0], 7.0),
        ([None], None),
        ([7.0, None], 7.0),
        ([7.0, 9.0, None], 9.0),
        ([7.0, None, None], None),
    ],
)
def test_the_panel_is_there_since_half_of_it_lives(alive: list[float | None], since: float | None) -> None:
    assert steady_since(alive) == since


@pytest.mark.parametrize("size", range(1, 8))
def test_no_node_goes_on_while_another_may_take_over(size: int) -> None:
    """A member that says it has no lease has not lived without a break for as long as the controller waits."""
    for says in itertools.product(("steady", "silent", "new", "unreached"), repeat=size):
        silences = [
            GONE if each == "silent" else UNREACHED if each == "unreached" else THERE for each in says
        ]
        alive = [
            {"steady": 0.0, "silent": None, "new": 95.0, "unreached": 0.0}[each] for each in says
        ]  # seen by a controller to which all answer that cannot be reached from the node
        steady = steady_since(alive)
        assert not (is_etcd_gone(silences, 3.0) and steady is not None and 100.0 - steady > 8.0)
