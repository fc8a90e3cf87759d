"""libnftables.so.1.

Give it commands in nft's own language; a call is one atomic transaction (see libnftables(3)).
"""

import ctypes
import functools
from typing import Any

import orjson

from fabric.runtime.errors import Unavailable

_JSON = 1 << 4
_NUMERIC_PROTO, _NUMERIC_PRIO, _NUMERIC_SYMBOL = 1 << 7, 1 << 8, 1 << 9


class NftError(Unavailable):
    """The kernel or the library refused; nothing of the transaction was done."""

    reason = "NFTABLES_REFUSED"


class Nftables:
    """For one thread at a time; works on the network namespace of the thread that made it."""

    def __init__(self) -> None:
        self._library = _library()
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        self._library.nft_ctx_free(self._context)
        self._context = ctypes.c_void_p()

    def apply(self, commands: str) -> None:
        """All or nothing. Raises NftError."""
        self._run(commands, 0)

    def reset_counters(self, family: str, table: str) -> list[dict[str, Any]]:
        """The named counters of a table, which begin again from zero; empty: there is no such table."""
        objects = self._list(f"reset counters table {family} {table}")
        return [item["counter"] for item in objects if "counter" in item]

    def table(self, family: str, table: str) -> list[dict[str, Any]]:
        """The objects of a table (libnftables-json(5)); empty: there is no such table."""
        return self._list(f"list table {family} {table}")

    def _list(self, command: str) -> list[dict[str, Any]]:
        try:
            text = self._run(command, _JSON | _NUMERIC_PROTO | _NUMERIC_PRIO | _NUMERIC_SYMBOL)
        except NftError as error:
            if "No such file or directory" in error.facts["output"]:
                return []
            raise
        objects: list[dict[str, Any]] = orjson.loads(text)["nftables"]
        return objects

    def _run(self, commands: str, flags: int) -> bytes:
        self._library.nft_ctx_output_set_flags(self._context, flags)
        result = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context)
        error: bytes = self._library.nft_ctx_get_error_buffer(self._context)
        if result != 0:
            raise NftError("nftables refused a change", output=error.decode(errors="replace")[:2000])
        return output


@functools.cache
def _library() -> ctypes.CDLL:
    """Raises Unavailable: the library is not installed."""
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise Unavailable("libnftables.so.1 is missing: install the package libnftables1") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    return library
