"""What both composition roots make of the settings that both have."""

from __future__ import annotations

from prometheus_client import start_http_server

from agentworkspace.server.listening import ServerTls, require_protection
from agentworkspace.server.server import ServerSettings
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
    return ServerSettings(
        listen=listen,
        tls=tls_of(settings),
        insecure=settings.insecure,
        reflection=settings.reflection,
        reuse_port=reuse_port,
        drain_seconds=settings.stop_grace.total_seconds(),
    )


def serve_metrics(settings: ServiceSettings, process: int) -> None:
    """Start to answer Prometheus, if that is set; `process` counts those of one service."""
    if settings.metrics_listen is not None:
        host, _, port = settings.metrics_listen.rpartition(":")
        start_http_server(int(port) + process, host.strip("[]"))
