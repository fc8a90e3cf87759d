"""Build hook: the messages and stubs of proto/ are generated, never committed."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateProtobuf(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]
    """Runs for wheels and editable installs alike, so that any `pip install` of a fresh clone works."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        runpy.run_path(str(root / "tools" / "protoc.py"))["generate"](root)
        build_data["artifacts"].extend(["*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi"])
