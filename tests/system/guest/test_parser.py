"""The guest's parsers, run by the busybox that it is made of."""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guest.tree import SOURCES

_SCRIPTS = SOURCES / "rootfs/usr/lib/fabric"
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


class _Output(NamedTuple):
    status: int
    text: str


def _awk(script: str, *arguments: str | Path, stdin: str = "") -> _Output:
    command = ["busybox", "awk", "-f", str(_SCRIPTS / script), *map(str, arguments)]
    result = subprocess.run(command, input=stdin.encode(), capture_output=True, check=False)
    return _Output(result.returncode, result.stdout.decode())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=_TEXT, other=_TEXT, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_json_strings_come_out_as_they_went_in(
    tmp_path: Path, value: str, other: str, ascii_only: bool, indent: int | None
) -> None:
    file = tmp_path / "x.json"
    tree = {"other": [other, {"deep": value}], "empty": {}, "none": [], other + "k": 1}
    file.write_text(json.dumps(tree, ensure_ascii=ascii_only, indent=indent))
    assert _awk("json", "get", file, "other", "1", "deep") == (0, value + "\n")


def test_json_lists_keys_and_absence(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"a": {"x": "1", "y": [2.5, true, null]}, "b": null}')
    assert _awk("json", "list", file, "a").text == "1\n2.5\ntrue\n"
    assert _awk("json", "keys", file).text == "a\nb\n"
    assert _awk("json", "keys", file, "a", "y").text == "0\n1\n2\n"
    assert [_awk("json", "get", file, path).status for path in ("a", "b", "c")] == [1, 1, 1]


@pytest.mark.parametrize("text", ["", "{", '{"a" 1}', "[1 2]", '{"a": "x}', "nul", "{,}"])
def test_what_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    assert _awk("json", "get", file, "a").status == 2


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("a: b: c", {"a": "b: c"}),
        ("a: x # note\nb: 'it''s'\nc: \"t\\tab\"", {"a": "x", "b": "it's", "c": "t\tab"}),
        ("- 1\n- - x\n  - y\n-\n  k: v\n  l: w", ["1", ["x", "y"], {"k": "v", "l": "w"}]),
        ("k:\n- a\n- b\nn:\n", {"k": ["a", "b"], "n": None}),
        ("t: |\n  one\n\n    two\n\nu: >-\n  a\n  b\n", {"t": "one\n\n  two\n", "u": "a b"}),
        ("f: [a, 'b, c', {d: e, f: [g]},\n  h]", {"f": ["a", "b, c", {"d": "e", "f": ["g"]}, "h"]}),
        ("x: true\ny: ~\nz: {}", {"x": True, "y": None, "z": {}}),
        ("r:\n  - echo http://x/#y >/z\n", {"r": ["echo http://x/#y >/z"]}),
    ],
)
def test_yaml_becomes_json(yaml: str, value: object) -> None:
    assert json.loads(_awk("yaml2json", stdin=yaml + "\n").text) == value


@pytest.mark.parametrize("yaml", ["a: &x 1", "a: b\n   c: d", "a: [b", "a: !!binary x", "a: b\nplain"])
def test_yaml_that_is_not_understood_is_refused(yaml: str) -> None:
    assert _awk("yaml2json", stdin=yaml + "\n").status == 2
