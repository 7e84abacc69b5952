"""Spans and W3C trace context, at both ends of a call; nothing at all without OpenTelemetry.

What may stand in a span: names of methods and tables, statements without their values, codes,
reasons, numbers. Never a request, an answer, a header or the text of an exception.
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
    """What makes spans in this process; None: nobody has set that up.

    For a service, which asks once, when its parts are made; so what is off costs a call nothing.
    """
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    tracer: Tracer = trace.get_tracer(_SCOPE)
    return tracer


def current() -> SpanContext | None:
    """Of the span in whose context this runs, if there is one."""
    if trace is None:
        return None
    found: SpanContext = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


def is_recording() -> bool:
    return trace is not None and bool(trace.get_current_span().is_recording())


def arrived(traceparent: str | None) -> Any:
    """The context that a call brought, or an empty one. `tracestate` and `baggage` are left behind:
    they are free text of whoever calls.
    """
    carrier = {} if traceparent is None else {TRACEPARENT: traceparent}
    return TraceContextTextMapPropagator().extract(carrier, _context.Context())


def enter(found: Any) -> None:
    """Make this the context of the running task, and of contexts copied from it, to its end."""
    _context.attach(found)


def call_attributes(method: str) -> dict[str, str]:
    """By the conventions of OpenTelemetry; `method` as on the wire, `/package.Service/Method`."""
    service, _, name = method.removeprefix("/").partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


class CallOut:
    """A call to somebody else, and its span. Where nothing records, it still hands on the context
    that it is made in.
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
        """What the call takes along, of its own span or else of what it is made in."""
        return None if self._span is None else _carried(trace.set_span_in_context(self._span))

    @property
    def is_recorded(self) -> bool:
        return self._span is not None and bool(self._span.is_recording())

    def end(self, code: Any) -> None:
        """It was answered with this status code of gRPC's."""
        if self._span is None or not self._span.is_recording():
            return
        number: int = code.value[0]
        self._span.set_attribute("rpc.grpc.status_code", number)
        if number:
            self._span.set_status(trace.StatusCode.ERROR, code.name)
        self._span.end()


def traceparent() -> str | None:
    """Of the context that this runs in, for a call without a span of its own."""
    return None if current() is None else _carried()


def _carried(found: Any = None) -> str | None:
    """How this context, or else the current one, is written on the wire."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, found)
    return carrier.get(TRACEPARENT)


@contextmanager
def client_span(tracer: Tracer | None, name: str, attributes: dict[str, str]) -> Iterator[Any]:
    """Around something that another system does, inside of a call that is recorded; else nothing.

    An exception marks it by its type's name: its text may quote what was sent.
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
    """Around work that is done for several calls at once: a part of the first of them that is
    recorded, with a link to each of the others. For calls that nobody records, nothing.
    """
    recorded = [each for each in waiting if each.trace_flags.sampled]
    if not recorded:
        yield
        return
    first, *others = recorded
    with tracer.start_as_current_span(
        name,
        trace.set_span_in_context(trace.NonRecordingSpan(first), _context.Context()),
        attributes={"agentworkspace.calls": len(waiting)},
        links=[trace.Link(each) for each in others],
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def failed(span: Any, error: BaseException) -> None:
    """Mark the span: by what PostgreSQL calls the fault, if it does, else by its type."""
    kind = getattr(error, "pgcode", None) or type(error).__name__
    span.set_attribute("error.type", kind)
    span.set_status(trace.StatusCode.ERROR, kind)
