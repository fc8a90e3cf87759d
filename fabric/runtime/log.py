"""Structured logs: constant events, facts as keys, one request id from the client to the agent."""

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog

REQUEST_ID = "request_id"


def configure(process: str, level: str = "info", form: str = "json", stream: TextIO = sys.stderr) -> None:
    """Send all logs of this process, also those of libraries, to the stream; form: json or console."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        ends: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dumps)]
    else:
        ends = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    structlog.configure(
        processors=shared + ends,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    library = logging.StreamHandler(stream)
    library.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[library], force=True)


def _dumps(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
