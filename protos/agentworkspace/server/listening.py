"""Where a server listens and how it is protected there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from agentworkspace.core.pem_files import (
    PemInvalid,
    content,
    require_authorities,
    require_pair,
)
from agentworkspace.core.watched_files import Signature, signature


class ListenRefused(ValueError):
    """The server cannot or must not listen there. The message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """PEM files. With `client_ca_file`, only clients with a certificate of that CA get in.

    The first connection after a change reads the files again, because certificates are renewed in
    place. Files that cannot be read, or do not fit each other, leave the previous ones in force.
    """

    certificate_file: Path
    key_file: Path
    client_ca_file: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files.

        OSError when one cannot be read, PemInvalid when one is empty.
        """
        seen = self._signatures()
        first = self._configuration()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # Called by threads of gRPC, for each handshake; None keeps what is in force.
            nonlocal seen
            try:
                now = self._signatures()
                if now == seen:
                    return None
                newer = self._configuration()
            except (OSError, PemInvalid):
                return None
            seen = now
            return newer

        return grpc.dynamic_ssl_server_credentials(
            first,
            changed,  # type: ignore[arg-type]  # the stubs forget None, which keeps what is there
            require_client_authentication=self.client_ca_file is not None,
        )

    def require_usable(self) -> None:
        """Raise ListenRefused unless certificate and key belong together and the client CA is one.

        gRPC itself would accept any files and then fail every handshake. OSError when a file cannot
        be read.
        """
        try:
            require_pair(self.certificate_file, self.key_file)
            if self.client_ca_file is not None:
                require_authorities(self.client_ca_file)
        except PemInvalid as wrong:
            raise ListenRefused(str(wrong)) from wrong

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        pair = (content(self.key_file), content(self.certificate_file))
        client_ca = content(self.client_ca_file) if self.client_ca_file else None
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=client_ca)

    def _signatures(self) -> list[Signature]:
        return list(map(signature, (self.key_file, self.certificate_file, self.client_ca_file)))


def is_loopback(listen: str) -> bool:
    """Whether only this machine reaches it: `127.0.0.0/8`, `::1`, `localhost`, or a unix socket.

    ListenRefused when it is not `host:port`.
    """
    if listen.startswith(("unix:", "unix-abstract:")):
        return True
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdigit():
        raise ListenRefused(f"{listen!r}: expected host:port")
    host = host.removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_protection(listen: str, *, tls: ServerTls | None, insecure: bool) -> None:
    """Raise ListenRefused for plain text off loopback, unless `insecure` asks for it."""
    if tls is None and not insecure and not is_loopback(listen):
        raise ListenRefused(
            f"{listen} is not loopback: name a certificate (…_TLS_CERTIFICATE_FILE) and its key"
            " (…_TLS_KEY_FILE), or set INSECURE=1 where something else encrypts"
        )


def bind(
    server: grpc.aio.Server, listen: str, *, tls: ServerTls | None = None, insecure: bool = False
) -> int:
    """Open the listener and return its port (useful with port 0).

    ListenRefused for plain text off loopback without `insecure`, for TLS files that cannot be used,
    and for an address that is in use or is not this machine's.
    """
    require_protection(listen, tls=tls, insecure=insecure)
    if tls is not None:
        tls.require_usable()
    in_use = (
        f"cannot listen on {listen}: another program listens there, or this machine has no such"
        " address; end that one, or listen elsewhere"
    )
    try:
        if tls is None:
            port = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, tls.credentials())
    except RuntimeError as error:
        raise ListenRefused(in_use) from error
    if port == 0:
        raise ListenRefused(in_use)
    return port
