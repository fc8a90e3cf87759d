"""docs/configuration.md is what the code says."""

from tools.configuration import OUT, reference


def test_reference_is_up_to_date() -> None:
    assert OUT.read_text() == reference(), "run `make docs`"
