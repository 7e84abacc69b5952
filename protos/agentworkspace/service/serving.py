"""What both composition roots make of the settings that both have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from prometheus_client import start_http_server

from agentworkspace.server.listening import ServerTls, require_protection
from agentworkspace.server.server import ServerSettings, stop_event
from agentworkspace.service.ending import closing_seconds, no_longer_than
from agentworkspace.service.settings import ServiceSettings


def tls_of(settings: ServiceSettings) -> ServerTls | None:
    """None: the listener speaks plain text."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTls(
        certificate_file=settings.tls_certificate,
        key_file=settings.tls_key,
        client_ca_file=settings.tls_client_ca,
    )


def require_protected(settings: ServiceSettings) -> None:
    """ListenRefused or OSError when the listener could not be opened as it is configured."""
    tls = tls_of(settings)
    require_protection(settings.listen, tls=tls, insecure=settings.insecure)
    if tls is not None:
        tls.credentials()


def server_settings(settings: ServiceSettings, listen: str, *, reuse_port: bool) -> ServerSettings:
    """How the gRPC server of a service listens, and ends."""
    grace = settings.stop_grace.total_seconds()
    return ServerSettings(
        listen=listen,
        tls=tls_of(settings),
        insecure=settings.insecure,
        reflection=settings.reflection,
        reuse_port=reuse_port,
        drain_seconds=grace - closing_seconds(grace),
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


async def serve_until_told(
    service: Served,
    settings: ServiceSettings,
    *,
    process: int,
    announce: Callable[[int], None],
) -> None:
    """Serve until SIGTERM or SIGINT, or until the service says that it cannot."""
    with stop_event() as stop:
        serve_metrics(settings, process)
        port = await service.start()
        stopping = asyncio.create_task(stop.wait())
        try:
            announce(port)
            ends: set[asyncio.Future[Any]] = {stopping, service.cannot_serve}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if service.cannot_serve.done():
                service.cannot_serve.result()
        finally:
            stopping.cancel()
            with no_longer_than(settings.stop_grace.total_seconds()):
                await service.stop()
