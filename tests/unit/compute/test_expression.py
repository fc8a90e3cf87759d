"""Conditions that are written as text."""

import pytest

from fabric.compute.expression import meets, parse_query
from fabric.runtime.errors import InvalidArgument


@pytest.mark.parametrize(
    ("value", "requirement", "met"),
    [
        ("ssd", "ssd", True),
        ("ssd", "hdd", False),
        ("8", "= 4", True),  # at least
        ("3", "= 4", False),
        ("4", "== 4.0", True),
        ("4", "!= 4", False),
        ("x", ">= 4", False),
        ("4", "<= 4", True),
        ("b", "s> a", True),
        ("b", "s== b", True),
        ("b", "s!= b", False),
        ("abc", "<in> bc", True),
        ("aes avx", "<all-in> avx aes", True),
        ("aes", "<all-in> avx aes", False),
        ("b", "<or> a <or> b", True),
        ("c", "<or> a <or> b", False),
        ("", "", True),
        ("=", "=", True),
    ],
)
def test_an_extra_spec_may_begin_with_an_operator(value: str, requirement: str, met: bool) -> None:
    assert meets(value, requirement) is met


@pytest.mark.parametrize(
    ("query", "true"),
    [
        ('[">=", "$free_ram_mb", 1024]', True),
        ('["<", "$free_ram_mb", 1024]', False),
        ('["and", ["=", "$host", "n1"], [">", "$vcpus_total", 2]]', True),
        ('["or", ["=", "$host", "n2"], ["in", "$host", "n0", "n1"]]', True),
        ('["not", ["=", "$host", "n1"]]', False),
        ('["=", "$nothing", 1]', False),
        ('[">", "$host", 1]', False),
    ],
)
def test_a_query_asks_for_facts(query: str, true: bool) -> None:
    assert parse_query(query)({"host": "n1", "free_ram_mb": 2048, "vcpus_total": 4}) is true


@pytest.mark.parametrize("query", ["", "{}", "[]", "[1]", '["like", "a", "b"]', '["and", 1]', '["="]'])
def test_what_is_no_query_is_refused(query: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_query(query)


def test_a_query_is_not_deep() -> None:
    with pytest.raises(InvalidArgument):
        parse_query('["not", ' * 50 + '["=", 1, 1]' + "]" * 50)
