"""Write the configuration reference from the code: python -m tools.configuration (make docs)."""

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from fabric.runtime.config import Config

OUT = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
HEAD = """\
# Configuration

Generated from `fabric/runtime/config.py` by `make docs`. One TOML file serves all processes of a node
(`--config`, default `/etc/fabric/fabric.toml`); an unknown key or a value of a wrong type is an error that names it.
"""


def reference() -> str:
    """The whole document."""
    hints = typing.get_type_hints(Config)
    parts = [HEAD]
    for section in dataclasses.fields(Config):
        kind = hints[section.name]
        if dataclasses.is_dataclass(kind):
            parts.append(_section(section.name, typing.cast(type[Any], kind)))
        else:
            parts.append(f"## [{section.name}]\n\n{section.metadata['doc']}\n")
    return "\n".join(parts)


def _section(name: str, kind: type[Any]) -> str:
    rows = [f"## [{name}]\n\n{kind.__doc__}\n", "| key | default | |", "|---|---|---|"]
    for field in dataclasses.fields(kind):
        default = field.default_factory() if callable(field.default_factory) else field.default
        rows.append(
            f"| `{field.name}` | `{_toml(default)}` | {field.metadata['doc'].replace('|', '&#124;')} |"
        )
    return "\n".join(rows) + "\n"


def _toml(value: Any) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


if __name__ == "__main__":
    OUT.write_text(reference())
