"""Logging of every process: structlog events and the SDKs' loggers, all through the same redaction."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from leaver.observability.redaction import redact_member

_QUIETER: Final[Mapping[str, int]] = {
    # One line per HTTP request, with its URL: the connectors' receipts say more, and without query strings.
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "azure": logging.WARNING,
    "msal": logging.WARNING,
    "botocore": logging.WARNING,
    "uvicorn": logging.WARNING,
    "asyncio": logging.WARNING,
}


class LogStyle(StrEnum):
    """How a line looks: for machines or for people."""

    JSON = "json"
    CONSOLE = "console"


def configure_logging(
    *, style: LogStyle = LogStyle.JSON, level: str = "INFO", stream: TextIO | None = None
) -> None:
    """Send all logging of this process to one stream, redacted, with ISO 8601 times in UTC.

    Replaces the root logger's handlers and the hooks for uncaught exceptions and warnings; call it once, at
    the start of a process. Loggers of the SDKs (temporalio, azure, httpx, msgraph) pass through it, too.

    Args:
        style: JSON lines or coloured text.
        level: The lowest level that is written: DEBUG, INFO, WARNING, ERROR.
        stream: Where to; None: standard error.

    Raises:
        ValueError: the level is unknown.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level {level!r}; use DEBUG, INFO, WARNING or ERROR")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_formatter(style, shared, colors=style is LogStyle.CONSOLE and target.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name, least in _QUIETER.items():
        logging.getLogger(name).setLevel(max(number, least))
    _route_strays()


def _formatter(
    style: LogStyle, shared: list[Processor], *, colors: bool
) -> structlog.stdlib.ProcessorFormatter:
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style is LogStyle.JSON
        else structlog.dev.ConsoleRenderer(colors=colors)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            # Tracebacks become text here, without local variables, so that redaction sees them.
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            _redact_last,
            renderer,
        ],
    )


def _redact_last(_logger: WrappedLogger, _method: str, event: EventDict) -> MutableMapping[str, Any]:
    """Stands directly before the renderer: nothing is added to an event after it."""
    return {name: redact_member(name, value) for name, value in event.items()}


def _route_strays() -> None:
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("leaver.uncaught").critical("uncaught", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
