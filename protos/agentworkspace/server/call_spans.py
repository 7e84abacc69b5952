"""The span of each call that a server answers, and the trace context that the call brought."""

from __future__ import annotations

from typing import Final

import grpc
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from agentworkspace.core import tracing
from agentworkspace.rpc.calls import Call
from agentworkspace.rpc.redaction import scrub_text

# Those that are the server's own trouble; what was wrong with a call is no error of its span.
_OWN: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_NUMBERS: Final = {code.name: code.value[0] for code in grpc.StatusCode}


class CallSpans:
    """Of one method. Without a `tracer`, a call that brings no context costs a comparison."""

    __slots__ = ("_attributes", "_name", "_tracer")

    def __init__(self, method: str, tracer: Tracer | None) -> None:
        self._name = method.removeprefix("/")
        self._tracer = tracer
        self._attributes = tracing.call_attributes(method)

    def begin(self, traceparent: str | None) -> Span | None:
        """In the call's own task. Log lines, and calls that are made for this one, belong to the
        trace that it came with, also where no spans are made.
        """
        if self._tracer is None:
            if traceparent is not None:
                tracing.enter(tracing.arrived(traceparent))
            return None
        parent = tracing.arrived(traceparent)
        span = self._tracer.start_span(
            self._name, parent, kind=SpanKind.SERVER, attributes=self._attributes
        )
        tracing.enter(set_span_in_context(span, parent))
        return span


def end(call: Call, code: str, reason: str) -> None:
    """The call was answered so. Its span says no more than its line of the log."""
    span: Span | None = call.span
    if span is None or not span.is_recording():
        return
    span.set_attribute("rpc.grpc.status_code", _NUMBERS.get(code, _NUMBERS["UNKNOWN"]))
    span.set_attribute("agentworkspace.correlation_id", scrub_text(call.correlation_id))
    if call.caller is not None:
        span.set_attribute("agentworkspace.caller", scrub_text(call.caller.name))
    if reason:
        span.set_attribute("agentworkspace.reason", reason)
    if code in _OWN:
        span.set_status(StatusCode.ERROR, reason or code)
    span.end()
