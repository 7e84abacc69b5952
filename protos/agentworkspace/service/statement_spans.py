"""Spans of SQL statements that are made for a call: their text, never their parameters."""

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
    """Makes spans for statements of recorded calls; background work has none."""

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    def of(self, statement: str) -> AbstractContextManager[object]:
        """A span, as a context manager, for a statement that does not go through SQLAlchemy."""
        return tracing.client_span(self._tracer, name_of(statement), attributes_of(statement))

    def watch(self, engine: Engine) -> None:
        """Make spans for every statement of this engine; does nothing without a tracer."""
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
        # SQLAlchemy passes no connection when it has given it up.
        span = None if connection is None else connection.connection.info.pop(_SPAN, None)
        if span is not None:
            tracing.failed(span, context.original_exception)
            span.end()


def name_of(statement: str) -> str:
    """The span's name: the verb and the table, such as `SELECT registry.tokens`."""
    words = statement.split(maxsplit=1)
    table = _TABLE.search(statement)
    return " ".join([*words[:1], *([table[1]] if table else [])])


def attributes_of(statement: str) -> dict[str, str]:
    return {"db.system.name": "postgresql", "db.query.text": statement[:_LONGEST_TEXT]}
