"""Finds out why a service cannot be reached: its name, its port, TLS, its certificate."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agentworkspace.client.channel import ClientTls

_SECONDS: Final = 3.0
# What an HTTP/2 client begins with: the connection preface, and an empty SETTINGS frame.
_GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
# X509_V_ERR_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH, …_CERT_HAS_EXPIRED of OpenSSL.
_WRONG_NAME: Final = (62, 64)
_EXPIRED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What was found. `fault` says what stands in the way, empty when nothing does; `remedy` is
    what to do about it. `expires` is the end of the server's certificate; None without TLS.
    """

    fault: str = ""
    remedy: str = ""
    expires: datetime | None = None


def reach(address: str, tls: ClientTls | None, *, option: str) -> Reach:
    """Connect as a call would, waiting at most a few seconds for each step.

    `tls` is None for plaintext; `option` is the flag that names the address, for the remedy.
    """
    host, _, port = _plain(address).rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), timeout=_SECONDS) as connection:
            return _secured(connection, host, tls)
    except (socket.gaierror, UnicodeError):  # UnicodeError: it cannot be a name
        return Reach(
            fault=f"the name {host} cannot be resolved",
            remedy=f"name the right address with {option} HOST:PORT, or mend the name",
        )
    except TimeoutError:
        return Reach(
            fault=f"nothing answers at {address} within {_SECONDS:.0f} s",
            remedy=f"check the address ({option}) and what lies between: a firewall, a policy",
        )
    except OSError as error:
        return Reach(
            fault=f"nothing listens at {address} ({error.strerror})",
            remedy=f"start the service, or name the right address with {option} HOST:PORT",
        )


def _plain(address: str) -> str:
    """HOST:PORT of what gRPC also takes as `dns:///HOST:PORT` or `dns://NAMESERVER/HOST:PORT`."""
    return address.rpartition("/")[2].removeprefix("dns:")


def _secured(connection: socket.socket, host: str, tls: ClientTls | None) -> Reach:
    peer = connection.getpeername()[:2]
    speaks_tls = _speaks_tls(connection, host)
    if tls is None and not speaks_tls:
        return Reach()
    if tls is None:
        return Reach(
            fault="the service speaks TLS, and this call did not",
            remedy="name the CA of its certificate with --ca FILE",
        )
    if not speaks_tls:
        return Reach(
            fault="the service speaks no TLS, and this call did",
            remedy="leave out --ca and --cert, or say --plaintext when that is meant",
        )
    with socket.create_connection(peer, timeout=_SECONDS) as another:
        return _verified(another, tls.server_name or host, tls)


def _speaks_tls(connection: socket.socket, host: str) -> bool:
    """Whether the peer answers a TLS handshake, with whatever certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError as error:
        # An alert is an answer in TLS; plaintext is not.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
    return True


def _verified(connection: socket.socket, name: str, tls: ClientTls) -> Reach:
    try:
        context = _context(tls)
    except (OSError, ssl.SSLError) as error:
        return Reach(
            fault=f"a certificate or key file cannot be used: {error.strerror or error.args[-1]}",
            remedy="name PEM files with --ca, --cert and --key; the key must fit the certificate",
        )
    try:
        with context.wrap_socket(connection, server_hostname=name) as secured:
            certificate = secured.getpeercert() or {}
            # With TLS 1.3, a server that wants a client's certificate says so only after the
            # handshake: it hangs up instead of answering.
            secured.sendall(_GREETING)
            with suppress(TimeoutError):
                if not secured.recv(1):
                    raise ConnectionResetError("hung up")
            return Reach(expires=_expiry(certificate.get("notAfter")))
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _WRONG_NAME:
            remedy = "call it by a name of the certificate, or say --tls-server-name NAME"
        elif error.verify_code == _EXPIRED:
            remedy = "renew the service's certificate; it is read again when its file changes"
        else:
            remedy = "name the CA that signed it with --ca FILE"
        return Reach(
            fault=f"the service's certificate is not accepted: {error.verify_message}",
            remedy=remedy,
        )
    except OSError as error:
        if tls.certificate_file is None:
            return Reach(
                fault="the service wants a certificate of its callers, and none was shown",
                remedy="name yours with --cert FILE and --key FILE",
            )
        return Reach(
            fault=f"the service did not accept this certificate ({error.strerror or error})",
            remedy="ask for one that its client CA has signed; see --cert and --key",
        )


def _context(tls: ClientTls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=_text(tls.ca_file))
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    context.set_alpn_protocols(["h2"])
    return context


def _expiry(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
