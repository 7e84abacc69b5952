"""Sending a service's spans to a collector, when OTEL_TRACES_EXPORTER says so.

Destination, sampling and service name are set by the standard OTEL_* variables, which the SDK of
OpenTelemetry reads itself. The SDK comes with the extra `otel` and is loaded only when spans are
exported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from opentelemetry import trace

from agentworkspace.core.installation import DISTRIBUTION, version_of
from agentworkspace.service.settings import ServiceSettings

OTLP: Final = "otlp"
# How long the end of the service waits for the collector to take what is left.
LAST_SPANS_MS: Final = 2000


@contextmanager
def exporting(settings: ServiceSettings) -> Iterator[None]:
    """Within the block, spans of this process are recorded and exported, if that is set.

    Enter it in the process that serves, before any part of the service is made.
    """
    if settings.traces != OTLP:
        yield
        return
    # Imported here, because the extra may be missing, and is slow to load.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = f"{settings.SERVICE.lower()}-service"
    said = Resource.create()
    own = {SERVICE_VERSION: version_of(name).removeprefix(f"{name} ")}
    if str(said.attributes[SERVICE_NAME]).startswith("unknown_service"):
        own[SERVICE_NAME] = name
    provider = TracerProvider(resource=said.merge(Resource(own)), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.force_flush(LAST_SPANS_MS)
        provider.shutdown()


def missing(settings: ServiceSettings) -> list[str]:
    """A sentence on what must be installed for these settings; empty when nothing is missing."""
    if settings.traces != OTLP or (_is_there("sdk") and _is_there("exporter.otlp.proto.grpc")):
        return []
    told = f"OTEL_TRACES_EXPORTER={OTLP} needs OpenTelemetry's SDK and exporter"
    return [f"{told}: install {DISTRIBUTION}[otel], or set it to none"]


def _is_there(part: str) -> bool:
    try:
        return find_spec(f"opentelemetry.{part}") is not None
    except ModuleNotFoundError:
        return False
