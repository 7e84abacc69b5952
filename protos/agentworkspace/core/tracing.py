"""Spans and W3C trace context at both ends of a call. Without OpenTelemetry all of it does nothing.

A span may hold names of methods and tables, statements without their values, codes, reasons and
numbers; never a request, an answer, a header or the text of an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, Tracer

trace: Any = None
try:
    from opentelemetry import context as _context
    from opentelemetry import trace as _trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError:  # the base installation leaves it out
    pass
else:
    trace = _trace

TRACEPARENT: Final = "traceparent"
_SCOPE: Final = "agentworkspace"


def recorder() -> Tracer | None:
    """The tracer that makes spans in this process; None when no tracer provider was set up.

    A service asks once, when it builds its parts, so that tracing that is off costs a call nothing.
    """
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    tracer: Tracer = trace.get_tracer(_SCOPE)
    return tracer


def current() -> SpanContext | None:
    """The context of the current span; None when there is none."""
    if trace is None:
        return None
    found: SpanContext = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


def is_recording() -> bool:
    """Whether the current span records; False without OpenTelemetry."""
    return trace is not None and bool(trace.get_current_span().is_recording())


def arrived(traceparent: str | None) -> Any:
    """The OpenTelemetry context of a `traceparent` that a call brought, or an empty context.

    `tracestate` and `baggage` are not read: they are free text that the caller chooses.
    """
    carrier = {} if traceparent is None else {TRACEPARENT: traceparent}
    return TraceContextTextMapPropagator().extract(carrier, _context.Context())


def enter(found: Any) -> None:
    """Make this the context of the running task, and of contexts copied from it, until it ends."""
    _context.attach(found)


def call_attributes(method: str) -> dict[str, str]:
    """A call's span attributes by OpenTelemetry's conventions.

    `method` is as on the wire: `/package.Service/Method`.
    """
    service, _, name = method.removeprefix("/").partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


class CallOut:
    """A call to another server, and its span. When nothing records, it still passes on the trace
    context that it is made in.
    """

    def __init__(self, method: str) -> None:
        self._span: Span | None = None
        if trace is not None:
            self._span = trace.get_tracer(_SCOPE).start_span(
                method.removeprefix("/"),
                kind=trace.SpanKind.CLIENT,
                attributes=call_attributes(method),
            )

    @property
    def traceparent(self) -> str | None:
        """The header that the call sends: of its own span, or else of the context it is made in."""
        return None if self._span is None else _carried(trace.set_span_in_context(self._span))

    @property
    def is_recorded(self) -> bool:
        return self._span is not None and bool(self._span.is_recording())

    def end(self, code: Any) -> None:
        """End the span: the call was answered with this `grpc.StatusCode`."""
        if self._span is None or not self._span.is_recording():
            return
        number: int = code.value[0]
        self._span.set_attribute("rpc.grpc.status_code", number)
        if number:
            self._span.set_status(trace.StatusCode.ERROR, code.name)
        self._span.end()


def traceparent() -> str | None:
    """The header of the current context, for a call without a span of its own; None: no context."""
    return None if current() is None else _carried()


def _carried(found: Any = None) -> str | None:
    """`found`, or else the current context, as the text of a `traceparent` header."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, found)
    return carrier.get(TRACEPARENT)


@contextmanager
def client_span(tracer: Tracer | None, name: str, attributes: dict[str, str]) -> Iterator[Any]:
    """A client span around work that another system does, such as a database statement.

    Yields the span, or None when `tracer` is None or the call being served is not recorded. An
    exception marks the span by its type's name only: its text may quote what was sent.
    """
    if tracer is None or not is_recording():
        yield None
        return
    with tracer.start_as_current_span(
        name,
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            failed(span, error)
            raise


@contextmanager
def batch_span(tracer: Tracer, name: str, waiting: Sequence[SpanContext]) -> Iterator[None]:
    """A span around work that is done for several calls at once.

    Its parent is the first of those calls that is recorded, and it links to the others that are.
    No span is made when none of them is recorded. A call waits once for each of its items.
    """
    calls = {each.span_id: each for each in waiting}
    recorded = [each for each in calls.values() if each.trace_flags.sampled]
    if not recorded:
        yield
        return
    first, *others = recorded
    with tracer.start_as_current_span(
        name,
        trace.set_span_in_context(trace.NonRecordingSpan(first), _context.Context()),
        attributes={"agentworkspace.calls": len(calls)},
        links=[trace.Link(each) for each in others],
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def failed(span: Any, error: BaseException) -> None:
    """Mark the span as failed: by the SQLSTATE if PostgreSQL gave one, else by the error's type."""
    kind = getattr(error, "pgcode", None) or type(error).__name__
    span.set_attribute("error.type", kind)
    span.set_status(trace.StatusCode.ERROR, kind)
