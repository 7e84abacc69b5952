"""A collector of OpenTelemetry's, on loopback in this process: it keeps what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb

_SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"
_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Span:
    """One span as it came over the wire."""

    service: str
    wire: Any

    @property
    def name(self) -> str:
        return str(self.wire.name)

    @property
    def attributes(self) -> dict[str, Any]:
        return {
            each.key: getattr(each.value, each.value.WhichOneof("value"))
            for each in self.wire.attributes
        }


@dataclass
class Collector:
    """`raw` are the requests, byte for byte, in the order in which they came."""

    address: str = ""
    raw: list[bytes] = field(default_factory=list)
    _came: threading.Condition = field(default_factory=threading.Condition)

    def take(self, raw: bytes, _context: object) -> Any:
        with self._came:
            self.raw.append(raw)
            self._came.notify_all()
        return pb.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        found = []
        for raw in tuple(self.raw):
            for sent in pb.ExportTraceServiceRequest.FromString(raw).resource_spans:
                said = {each.key: each.value.string_value for each in sent.resource.attributes}
                found += [
                    Span(said["service.name"], each)
                    for scope in sent.scope_spans
                    for each in scope.spans
                ]
        return found

    def until(self, enough: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans, as soon as there are enough of them."""
        with self._came:
            if not self._came.wait_for(lambda: enough(self.spans), _SECONDS):
                raise AssertionError(f"only {[(each.service, each.name) for each in self.spans]}")
        return self.spans


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listening until the block ends."""
    collector = Collector()
    handler: Any = grpc.unary_unary_rpc_method_handler(
        collector.take, response_serializer=pb.ExportTraceServiceResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_SERVICE, {"Export": handler}),)
    )
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None)


def settings(collector: Collector) -> dict[str, str]:
    """What sends the spans of a service there, soon."""
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
