"""Regular expressions of callers."""

import re

import pytest

from gateway.compute.server_list import pattern
from gateway.core.fault import Invalid


@pytest.mark.parametrize(
    "text", ["web", "^web-[0-9]+$", "a|b", r"10\.0\.0\.", "(web|db)-1", "x{2,3}", r"a\+\+\+\+(b|c)?"]
)
def test_plain_expressions_are_taken(text: str) -> None:
    assert re.compile(pattern(text, "name"))


@pytest.mark.parametrize(
    "text", ["[", "(", "*", "(a+)+$", "(a*)*b", "(a|a)*$", "((a+))+", "a*a*a*a*b", "a" * 300]
)
def test_broken_and_endless_expressions_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="regular expression"):
        pattern(text, "name")
