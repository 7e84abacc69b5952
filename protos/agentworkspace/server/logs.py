"""Log set-up for a service: one line per event, redacted, with the correlation id bound."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from agentworkspace.core import tracing
from agentworkspace.rpc.calls import current_correlation_id
from agentworkspace.rpc.redaction import Clean, redact_event

# Built once, because json.dumps with options makes a new encoder for every call.
_ENCODER: Final = json.JSONEncoder(default=repr)

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(*, as_json: bool = True, level: str = "info", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging, which other packages use.

    `level` is one of LEVELS. Everything goes through `redact_event`, also exceptions' text;
    tracebacks are rendered without local variables, which would hold secrets.
    """
    stream = stream or sys.stderr
    number = LEVELS[level]
    # Redaction runs after whatever renders exceptions, and before what we add ourselves.
    shared: list[Any] = [
        bind_ids,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_event,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render = _render_json if as_json else _render_text
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *shared,
                render,
            ]
        )
    )
    handler.addFilter(_is_no_hang_up)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)


def _is_no_hang_up(record: logging.LogRecord) -> bool:
    """Whether to keep a line: not gRPC's error about an answer whose client has hung up.

    That call has a log line of its own, and strangers with short deadlines could fill the disk.
    """
    return not record.getMessage().startswith("ExecuteBatchError raised in core")


def bind_ids(
    _logger: object, _level: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: adds the call's correlation id, unless given, and its trace ids."""
    if "correlation_id" not in event:
        correlation_id = current_correlation_id()
        if correlation_id is not None:
            event["correlation_id"] = correlation_id
    span = tracing.current()
    if span is not None:
        event["trace_id"] = Clean(f"{span.trace_id:032x}")
        event["span_id"] = Clean(f"{span.span_id:016x}")
    return event


_render_text: Final = structlog.dev.ConsoleRenderer(
    colors=False,
    exception_formatter=structlog.dev.plain_traceback,  # the pretty one prints local variables
)


def _render_json(_logger: object, _level: str, event: MutableMapping[str, Any]) -> str:
    return _ENCODER.encode(event)
