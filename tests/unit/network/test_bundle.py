"""What nodes are told of together."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fabric.network.bundle import Bundles

OWNERS = {f"{owner}{number}": owner for owner in "ab" for number in range(50)}


def test_things_fill_one_bundle_after_the_other_and_stay_where_they_are() -> None:
    bundles = Bundles()
    assert {bundles.put("a", f"a{number}") for number in range(32)} == {"a.0"}
    assert bundles.put("a", "a40") == "a.1"
    assert bundles.drop("a3") == "a.0"
    assert bundles.put("a", "a40") == "a.1"
    assert bundles.put("a", "a41") == "a.0"


def test_what_was_told_before_stays_in_its_bundle() -> None:
    bundles = Bundles()
    assert bundles.restore("a.7", "a1") == "a.7"
    assert bundles.restore("a.8", "a1") == "a.7"
    assert bundles.put("a", "a1") == "a.7"
    assert bundles.drop("a1") == "a.7"
    assert not [*bundles.ids()]
    assert bundles.put("a", "a1") == "a.0"


class ManyThings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.told, self.where = Bundles(), dict[str, str]()

    @rule(thing=st.sampled_from(sorted(OWNERS)))
    def put(self, thing: str) -> None:
        bundle = self.told.put(OWNERS[thing], thing)
        assert self.where.setdefault(thing, bundle) == bundle

    @rule(thing=st.sampled_from(sorted(OWNERS)))
    def drop(self, thing: str) -> None:
        assert self.told.drop(thing) == self.where.pop(thing, None)

    @rule(thing=st.sampled_from(sorted(OWNERS)), number=st.integers(0, 5))
    def restore(self, thing: str, number: int) -> None:
        bundle = self.told.restore(f"{OWNERS[thing]}.{number}", thing)
        assert self.where.setdefault(thing, bundle) == bundle

    @invariant()
    def each_thing_is_in_one_bundle_of_its_owner(self) -> None:
        found = {thing: bundle for bundle in self.told.ids() for thing in self.told.things(bundle)}
        assert found == self.where
        owned = {bundle for owner in "ab" for bundle in self.told.of_owner(owner)}
        assert owned == set(self.told.ids())
        assert all(self.where[thing].startswith(f"{OWNERS[thing]}.") for thing in self.where)


TestManyThings = ManyThings.TestCase
