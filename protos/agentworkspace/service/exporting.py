"""Sending a service's spans to a collector, when OTEL_TRACES_EXPORTER says so.

Where to, how many and under which name is for the standard OTEL_* variables, which OpenTelemetry's
SDK reads itself. It is the extra `otel`, and nothing of it is loaded unless it is wanted.
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
    """Until the block ends, what records spans here has somewhere to send them. Enter it in the
    process that serves, before anything of the service is made.
    """
    if settings.traces != OTLP:
        yield
        return
    # Here, not above: the extra may be missing, and who exports nothing need not load it.
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
    """What has to be installed for what is set."""
    if settings.traces != OTLP or (_is_there("sdk") and _is_there("exporter.otlp.proto.grpc")):
        return []
    told = f"OTEL_TRACES_EXPORTER={OTLP} needs OpenTelemetry's SDK and exporter"
    return [f"{told}: install {DISTRIBUTION}[otel], or set it to none"]


def _is_there(part: str) -> bool:
    try:
        return find_spec(f"opentelemetry.{part}") is not None
    except ModuleNotFoundError:
        return False
