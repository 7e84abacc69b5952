"""Spans of the statements that are made for a call: their text, never what is bound to them."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any, Final

from opentelemetry.trace import SpanKind, Tracer
from sqlalchemy import Engine, event

from agentworkspace.core import tracing

_SPAN: Final = "agentworkspace_span"
_LONGEST_TEXT: Final = 4000
_TABLE: Final = re.compile(r"\b(?:FROM|INTO|UPDATE|EXECUTE)\s+([a-z_][\w.]*)")


class StatementSpans:
    """Makes them, for work inside of a recorded call; the service's own rounds have none."""

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    def of(self, statement: str) -> AbstractContextManager[object]:
        """Around a statement that does not go through SQLAlchemy."""
        return tracing.client_span(self._tracer, name_of(statement), attributes_of(statement))

    def watch(self, engine: Engine) -> None:
        """Every statement of this engine; nothing is added to it where nothing records."""
        if self._tracer is None:
            return
        event.listen(engine, "before_cursor_execute", self._begin)
        event.listen(engine, "after_cursor_execute", self._end)
        event.listen(engine, "handle_error", self._fail)

    def _begin(self, connection: Any, _cursor: object, statement: str, *_: object) -> None:
        if self._tracer is None or not tracing.is_recording():
            return
        connection.info[_SPAN] = self._tracer.start_span(
            name_of(statement), kind=SpanKind.CLIENT, attributes=attributes_of(statement)
        )

    @staticmethod
    def _end(connection: Any, *_: object) -> None:
        span = connection.info.pop(_SPAN, None)
        if span is not None:
            span.end()

    @staticmethod
    def _fail(context: Any) -> None:
        connection = context.connection
        # A connection that was given up has no notes any more.
        span = None if connection is None else connection.connection.info.pop(_SPAN, None)
        if span is not None:
            tracing.failed(span, context.original_exception)
            span.end()


def name_of(statement: str) -> str:
    """What it does and to which table, as `SELECT registry.tokens`."""
    words = statement.split(maxsplit=1)
    table = _TABLE.search(statement)
    return " ".join([*words[:1], *([table[1]] if table else [])])


def attributes_of(statement: str) -> dict[str, str]:
    return {"db.system.name": "postgresql", "db.query.text": statement[:_LONGEST_TEXT]}
