"""The span of each call that a server answers, and the trace context that the call brought."""

from __future__ import annotations

from typing import Final

import grpc
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context

from agentworkspace.core import tracing
from agentworkspace.rpc.calls import Call
from agentworkspace.rpc.redaction import scrub_text

# Only the server's own faults make a span an error; a call that was refused rightly does not.
_OWN: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_NUMBERS: Final = {code.name: code.value[0] for code in grpc.StatusCode}


class CallSpans:
    """The spans of one method. Without a `tracer` none are made, at almost no cost."""

    __slots__ = ("_attributes", "_name", "_tracer")

    def __init__(self, method: str, tracer: Tracer | None) -> None:
        self._name = method.removeprefix("/")
        self._tracer = tracer
        self._attributes = tracing.call_attributes(method)

    def begin(self, traceparent: str | None) -> Span | None:
        """Start the span, or return None without a tracer; call it in the call's own task.

        In either case log lines, and calls made for this one, belong to the trace that it brought.
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
    """End the call's span, with no more in it than the call's log line says."""
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
