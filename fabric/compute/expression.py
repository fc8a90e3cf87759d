"""Conditions that operators and callers write as text: extra specs with operators, and JSON queries."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from fabric.runtime.errors import InvalidArgument

_NUMBERS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.ge,  # as extra specs have always had it: at least
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_WORDS: Mapping[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s>=": operator.ge,
    "s>": operator.gt,
    "s<=": operator.le,
    "s<": operator.lt,
}
_QUERY: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
Query = Callable[[Mapping[str, Any]], bool]


def meets(value: str, requirement: str) -> bool:
    """Whether a value is as an extra spec requires: `>= 4`, `s== text`, `<in> part`, `<or> a <or> b`, or plain text."""
    words = requirement.split()
    if not words:
        return value == requirement
    sign, rest = words[0], words[1:]
    if sign == "<or>":
        return value in [word for word in rest if word != "<or>"]
    if sign == "<in>":
        return " ".join(rest) in value
    if sign == "<all-in>":
        return all(word in value for word in rest)
    if sign in _WORDS and rest:
        return _WORDS[sign](value, " ".join(rest))
    if sign in _NUMBERS and rest:
        try:
            return _NUMBERS[sign](float(value), float(rest[0]))
        except ValueError:
            return False
    return value == requirement


def parse_query(text: str) -> Query:
    """The condition of a JSON query, such as [">=", "$free_ram_mb", 1024]. Raises InvalidArgument."""
    try:
        return _condition(orjson.loads(text))
    except ValueError as error:
        raise InvalidArgument(f"The query is not usable: {error}.", field="query") from error


def _condition(query: Any, depth: int = 0) -> Query:
    if not isinstance(query, list) or not query or not isinstance(query[0], str) or depth > 16:
        raise ValueError("each part is a list that begins with an operator")
    sign, rest = query[0], query[1:]
    if sign in ("and", "or", "not") and rest:
        parts = [_condition(part, depth + 1) for part in rest]
        if sign == "and":
            return lambda facts: all(part(facts) for part in parts)
        if sign == "or":
            return lambda facts: any(part(facts) for part in parts)
        return lambda facts: not any(part(facts) for part in parts)
    if sign not in (*_QUERY, "in") or len(rest) < 2:
        raise ValueError(f"{sign!r} does not stand before {len(rest)} values")
    compare = operator.eq if sign == "in" else _QUERY[sign]
    left, others = rest[0], rest[1:]
    combine = any if sign == "in" else all
    return lambda facts: combine(_compare(compare, left, other, facts) for other in others)


def _compare(compare: Callable[[Any, Any], bool], left: Any, right: Any, facts: Mapping[str, Any]) -> bool:
    try:
        return bool(compare(_fact(left, facts), _fact(right, facts)))
    except TypeError:  # a text and a number, or a fact that there is not
        return False


def _fact(value: Any, facts: Mapping[str, Any]) -> Any:
    return facts.get(value[1:]) if isinstance(value, str) and value.startswith("$") else value
