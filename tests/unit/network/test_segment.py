"""What is left of the default range of VNIs."""

from hypothesis import given
from hypothesis import strategies as st

from fabric.network.segment import beside

BOUNDS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair)))


@given(BOUNDS, st.lists(BOUNDS, max_size=5))
def test_what_is_beside_is_all_but_the_parts(whole: tuple[int, int], parts: list[tuple[int, int]]) -> None:
    left = [n for first, last in beside(whole, parts) for n in range(first, last + 1)]
    taken = {n for first, last in parts for n in range(first, last + 1)}
    assert left == [n for n in range(whole[0], whole[1] + 1) if n not in taken]
