"""What both composition roots make of the settings that both have."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from prometheus_client import start_http_server

from agentworkspace.server.edge import EdgeSettings
from agentworkspace.server.listening import ServerTls, require_protection
from agentworkspace.server.server import ServerSettings, stop_event
from agentworkspace.server.shares import ShareLimits
from agentworkspace.service.ending import closing_seconds, no_longer_than
from agentworkspace.service.settings import ServiceSettings


def tls_of(settings: ServiceSettings) -> ServerTls | None:
    """How the listener is encrypted; None when it speaks plain text."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls(
        certificate_file=settings.tls_certificate,
        key_file=settings.tls_key,
        client_ca_file=settings.tls_client_ca,
    )


def control_tls_of(settings: ServiceSettings) -> ServerTls | None:
    """The same for the control plane's own listener: its own certificate, else that of the other
    listener, and authorities of its own.
    """
    certificate, key = settings.control_tls_certificate, settings.control_tls_key
    if certificate is None or key is None:
        certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return None
    return ServerTls(
        certificate_file=certificate,
        key_file=key,
        client_ca_file=settings.control_tls_client_ca,
    )


def require_protected(settings: ServiceSettings) -> None:
    """ListenRefused or OSError when a listener could not be opened as it is configured."""
    listeners = [(settings.listen, tls_of(settings))]
    if settings.control_listen is not None:
        listeners.append((settings.control_listen, control_tls_of(settings)))
    for listen, tls in listeners:
        require_protection(listen, tls=tls, insecure=settings.insecure)
        if tls is not None:
            tls.require_usable()


def edge_settings(settings: ServiceSettings, domain: str, *, max_in_flight: int) -> EdgeSettings:
    """What the edge of a service lets in; `domain` is that of its ErrorInfo."""
    return EdgeSettings(
        domain=domain,
        unary_ceiling_seconds=settings.deadline_ceiling.total_seconds(),
        max_request_bytes=settings.max_request_bytes,
        max_in_flight=max_in_flight,
        max_streams=settings.max_streams,
        shares=ShareLimits(
            calls_per_caller=settings.calls_per_caller,
            calls_per_tenant=settings.calls_per_tenant,
            streams_per_caller=settings.streams_per_caller,
            streams_per_tenant=settings.streams_per_tenant,
        ),
        strangers_burst=settings.unknown_burst,
        strangers_per_second=settings.unknown_per_second,
        strangers_total_burst=settings.unknown_total_burst,
        strangers_total_per_second=settings.unknown_total_per_second,
    )


def server_settings(settings: ServiceSettings, *, reuse_port: bool) -> ServerSettings:
    """How the gRPC server of a service listens, and ends."""
    grace = settings.stop_grace.total_seconds()
    return ServerSettings(
        listen=settings.listen,
        tls=tls_of(settings),
        control_listen=settings.control_listen,
        control_tls=control_tls_of(settings),
        insecure=settings.insecure,
        reflection=settings.reflection,
        reuse_port=reuse_port,
        drain_seconds=grace - closing_seconds(grace),
        accept_compression=settings.accept_compression,
        max_connection_age_seconds=settings.max_connection_age.total_seconds(),
        connection_grace_seconds=settings.connection_grace.total_seconds(),
    )


def serve_metrics(settings: ServiceSettings, process: int) -> None:
    """Start to answer Prometheus, if that is set; `process` counts those of one service."""
    if settings.metrics_listen is not None:
        host, _, port = settings.metrics_listen.rpartition(":")
        start_http_server(int(port) + process, host.strip("[]"))


class Served(Protocol):
    """One process of a service, made on the loop that serves it."""

    @property
    def cannot_serve(self) -> asyncio.Future[None]:
        """Holds the exception for which the service must end."""

    async def start(self) -> int:
        """Listen, and return the port."""

    async def stop(self) -> None:
        """Finish what runs, close. Twice is once."""


async def serve_until_told(service: Served, settings: ServiceSettings, *, process: int) -> None:
    """Serve until SIGTERM or SIGINT, or until the service says that it cannot."""
    with stop_event() as stop:
        serve_metrics(settings, process)
        await service.start()
        stopping = asyncio.create_task(stop.wait())
        try:
            ends: set[asyncio.Future[Any]] = {stopping, service.cannot_serve}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if service.cannot_serve.done():
                service.cannot_serve.result()
        finally:
            stopping.cancel()
            with no_longer_than(settings.stop_grace.total_seconds()):
                await service.stop()
