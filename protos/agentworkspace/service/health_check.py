"""The command `health`: asks the service on this machine once, for a container's health check.

It runs every few seconds for as long as the container lives, so it imports nothing that it does not
need: neither the service nor the database.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agentworkspace.client.channel import ClientTls, blocking_channel
from agentworkspace.core.pem_files import require_authorities
from agentworkspace.service import settings_values as values
from agentworkspace.service.declared_settings import BadSettings
from agentworkspace.service.outcome import FAILED, outcome
from agentworkspace.service.settings import ServiceSettings

SERVING: Final = "SERVING"
UNREACHABLE: Final = "UNREACHABLE"
MEANING: Final = "whether the service says SERVING, for containers"
MISCONFIGURED: Final = 2
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - to be replaced


def add_arguments(parser: argparse.ArgumentParser, service: str) -> None:
    parser.add_argument(
        "--address",
        type=values.of_argument(values.target),
        metavar="HOST:PORT",
        help=f"where to ask; default {service}_LISTEN",
    )
    parser.add_argument("--part", default="", metavar="NAME", help="one gRPC service; default all")
    parser.add_argument(
        "--timeout",
        type=values.of_argument(values.seconds(0.1, 3600)),
        default=timedelta(seconds=3),
        metavar="SECONDS",
        help="how long to wait for the answer; default 3",
    )


def main(settings: type[ServiceSettings], arguments: Sequence[str] | None = None) -> int:
    """Run `health` alone, as the whole command line would, but without loading the service."""
    name = f"{settings.SERVICE.lower()}-service"
    parser = argparse.ArgumentParser(prog=f"{name} health", description=MEANING)
    add_arguments(parser, settings.SERVICE)
    chosen = parser.parse_args(sys.argv[2:] if arguments is None else arguments)

    def answered() -> int:
        try:
            return answer(settings.load(os.environ), chosen)
        except BadSettings as wrong:
            for problem in wrong.problems:
                print(f"{name}: {problem}", file=sys.stderr)
            return MISCONFIGURED

    return outcome(name, answered)


def answer(settings: ServiceSettings, chosen: argparse.Namespace) -> int:
    """Print the status; returns the exit status, which is 0 for SERVING.

    BadSettings when the service's certificate cannot be used.
    """
    status = ask(settings, chosen)
    print(status)
    if status == UNREACHABLE:
        name = f"{settings.SERVICE.lower()}-service"
        print(
            f"{name}: no answer from {_address(settings, chosen)}: start the service, name where it"
            " listens with --address HOST:PORT, or see that it speaks TLS just when this command's"
            " settings say so",
            file=sys.stderr,
        )
    return 0 if status == SERVING else FAILED


def _address(settings: ServiceSettings, chosen: argparse.Namespace) -> str:
    host, _, port = (chosen.address or settings.listen).rpartition(":")
    return f"{_EVERYWHERE.get(host, host)}:{port}"


def ask(settings: ServiceSettings, chosen: argparse.Namespace) -> str:
    """The status by grpc.health.v1, SERVICE_UNKNOWN or UNREACHABLE. BadSettings as `answer`."""
    address = _address(settings, chosen)
    request = health_pb2.HealthCheckRequest(service=chosen.part)
    try:
        channel = blocking_channel(address, tls=_tls(settings), retries=False)
    except (OSError, ValueError) as wrong:
        raise BadSettings([f"{settings.SERVICE}_TLS_CERTIFICATE_FILE: {wrong}"]) from None
    with channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(request, timeout=chosen.timeout.total_seconds())
        except grpc.RpcError as error:
            code: grpc.StatusCode = getattr(error, "code")()  # noqa: B009 - the stubs lack it
            return "SERVICE_UNKNOWN" if code is grpc.StatusCode.NOT_FOUND else UNREACHABLE
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return name


def _tls(settings: ServiceSettings) -> ClientTls | None:
    """TLS that trusts the server's own certificate, under a name that is in it.

    Where clients must present a certificate, the server's own is presented.
    """
    if settings.tls_certificate is None:
        return None
    require_authorities(settings.tls_certificate)
    shown = settings.tls_client_ca is not None
    return ClientTls(
        ca_file=settings.tls_certificate,
        certificate_file=settings.tls_certificate if shown else None,
        key_file=settings.tls_key if shown else None,
        server_name=_name_of(settings.tls_certificate),
    )


def _name_of(certificate: Path) -> str | None:
    """A name or address that the certificate is for; None when it lists none."""
    from cryptography import x509  # noqa: PLC0415 - only TLS needs it, and it is slow to load

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
