"""Rule sets as data: what should be in the kernel, what is, the transaction between them. No I/O.

A rule carries the digest of its text as its comment, since the kernel's listing of a rule differs from what
was written; a chain is as it should be when its digests are.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str]  # table ("bridge fabric_port"), name of a set or a chain


@dataclass(frozen=True)
class SetType:
    """How a set or a map is declared, and whether its keys begin with an interface name, which nft wants
    quoted.
    """

    declaration: str
    is_map: bool = False
    quoted: bool = False


@dataclass
class Ruleset:
    """sets: key to value ("" in a set). chains: digests of their rules."""

    sets: dict[Key, dict[str, str]] = field(default_factory=dict)
    chains: dict[Key, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class Wanted(Ruleset):
    """With all that is needed to write it."""

    types: dict[Key, SetType] = field(default_factory=dict)
    hooks: dict[Key, str] = field(default_factory=dict)  # base chains
    rules: dict[Key, list[str]] = field(default_factory=dict)

    def add_set(self, key: Key, type_: SetType, elements: Mapping[str, str]) -> None:
        self.types[key] = type_
        self.sets[key] = dict(elements)

    def add_chain(self, key: Key, rules: Iterable[str], hook: str = "") -> None:
        self.rules[key] = list(rules)
        self.chains[key] = tuple(digest(rule) for rule in self.rules[key])
        if hook:
            self.hooks[key] = hook


@functools.lru_cache(8192)
def digest(rule: str) -> str:
    """What a rule is recognized by."""
    return hashlib.sha256(rule.encode()).hexdigest()[:12]


def transaction(have: Ruleset, want: Wanted) -> str:
    """Commands that make have into want, at once; empty: there is nothing to do."""
    return "".join(f"{line}\n" for line in _commands(have, want))


def _commands(have: Ruleset, want: Wanted) -> Iterator[str]:
    old_tables, tables = _tables(have), _tables(want)
    yield from (f"delete table {table}" for table in sorted(old_tables - tables))
    yield from (f"add table {table}" for table in sorted(tables - old_tables))
    changed = [key for key, digests in want.chains.items() if have.chains.get(key) != digests]
    gone_chains = [key for key in have.chains if key not in want.chains and key[0] in tables]
    gone_sets = [key for key in have.sets if key not in want.sets and key[0] in tables]
    for key, type_ in want.types.items():
        if key not in have.sets:
            yield f"add {'map' if type_.is_map else 'set'} {key[0]} {key[1]} {{ {type_.declaration} }}"
    for key in changed:
        if key in have.chains:
            yield f"flush chain {key[0]} {key[1]}"
        else:
            hook = want.hooks.get(key)
            yield f"add chain {key[0]} {key[1]}" + (f" {{ {hook} }}" if hook else "")
    for key, elements in want.sets.items():
        before = have.sets.get(key, {})
        if before != elements:
            yield from _element_commands(key, want.types[key], before, elements)
    for key in changed:
        for rule in want.rules[key]:
            yield f'add rule {key[0]} {key[1]} {rule} comment "{digest(rule)}"'
    yield from (f"flush chain {table} {name}" for table, name in gone_chains)
    yield from (f"delete chain {table} {name}" for table, name in gone_chains)
    yield from (f"delete set {table} {name}" for table, name in gone_sets)


def _tables(ruleset: Ruleset) -> set[str]:
    return {table for table, _ in (*ruleset.chains, *ruleset.sets)}


def _element_commands(
    key: Key, type_: SetType, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[str]:
    gone = [element for element, value in before.items() if after.get(element) != value]
    new = [element for element, value in after.items() if before.get(element) != value]
    if gone:
        elements = ", ".join(_element(type_, element, before[element]) for element in gone)
        yield f"delete element {key[0]} {key[1]} {{ {elements} }}"
    if new:
        elements = ", ".join(_element(type_, element, after[element]) for element in new)
        yield f"add element {key[0]} {key[1]} {{ {elements} }}"


def _element(type_: SetType, element: str, value: str) -> str:
    first, dot, rest = element.partition(" . ")
    text = f'"{first}"{dot}{rest}' if type_.quoted else element
    return f"{text} : {value}" if type_.is_map else text


def listed(objects: Iterable[Mapping[str, Any]]) -> Ruleset:
    """A rule set from the kernel's listing of its tables."""
    found = Ruleset()
    rules: dict[Key, list[str]] = {}
    for item in objects:
        for kind, body in item.items():
            if kind in ("set", "map"):
                key = (f"{body['family']} {body['table']}", body["name"])
                found.sets[key] = dict(_listed_element(element) for element in body.get("elem", ()))
            elif kind == "chain":
                rules.setdefault((f"{body['family']} {body['table']}", body["name"]), [])
            elif kind == "rule":
                key = (f"{body['family']} {body['table']}", body["chain"])
                rules.setdefault(key, []).append(body.get("comment", ""))
    found.chains = {key: tuple(digests) for key, digests in rules.items()}
    return found


def _listed_element(element: Any) -> tuple[str, str]:
    if isinstance(element, list):
        return _listed_value(element[0]), _listed_value(element[1])
    return _listed_value(element), ""


def _listed_value(value: Any) -> str:
    match value:
        case {"concat": parts}:
            return " . ".join(_listed_value(part) for part in parts)
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [start, end]}:
            return f"{_listed_value(start)}-{_listed_value(end)}"
        case {"elem": {"val": inner}}:
            return _listed_value(inner)
        case {"goto": {"target": target}}:
            return f"goto {target}"
    return str(value)
