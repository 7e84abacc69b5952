"""`… health`: one question to the service on this machine, for a container's health check."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agentworkspace.client.channel import ClientTls, blocking_channel
from agentworkspace.service.settings import ServiceSettings

SERVING: Final = "SERVING"
UNREACHABLE: Final = "UNREACHABLE"
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - to be replaced


def add_arguments(parser: argparse.ArgumentParser, service: str) -> None:
    parser.add_argument("--address", help=f"host:port; default {service}_LISTEN")
    parser.add_argument("--part", default="", metavar="NAME", help="one gRPC service; default all")
    parser.add_argument("--timeout", type=float, default=3.0, metavar="SECONDS")


def ask(settings: ServiceSettings, chosen: argparse.Namespace) -> str:
    """The word of grpc.health.v1, or UNREACHABLE."""
    host, _, port = (chosen.address or settings.listen).rpartition(":")
    address = f"{_EVERYWHERE.get(host, host)}:{port}"
    request = health_pb2.HealthCheckRequest(service=chosen.part)
    with blocking_channel(address, tls=_tls(settings), retries=False) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(request, timeout=chosen.timeout)
        except grpc.RpcError as error:
            code: grpc.StatusCode = getattr(error, "code")()  # noqa: B009 - the stubs lack it
            return "SERVICE_UNKNOWN" if code is grpc.StatusCode.NOT_FOUND else UNREACHABLE
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return name


def _tls(settings: ServiceSettings) -> ClientTls | None:
    """As a client that knows this very server: by its certificate, under a name that it has; and
    where clients must show one, with the same certificate.
    """
    if settings.tls_certificate is None:
        return None
    shown = settings.tls_client_ca is not None
    return ClientTls(
        ca_file=settings.tls_certificate,
        certificate_file=settings.tls_certificate if shown else None,
        key_file=settings.tls_key if shown else None,
        server_name=_name_of(settings.tls_certificate),
    )


def _name_of(certificate: Path) -> str | None:
    """A name or address that the certificate is for."""
    (leaf, *_) = x509.load_pem_x509_certificates(certificate.read_bytes())
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    found = [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]
    return found[0].replace("*", "any", 1) if found else None
