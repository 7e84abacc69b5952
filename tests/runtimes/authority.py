"""A certificate authority of the rig's own, which vouches for any name that is asked for."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID: Final = dt.timedelta(days=2)
NAMELESS: Final = "nameless.invalid"


class Authority:
    """Signs one certificate for each name, when it is first asked for; keys stay in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._now = dt.datetime.now(dt.UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rig of the runtimes")])
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        # One key serves every name: what is tested is who is spoken to, not the key.
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key_text = self._leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.certificate: Final = directory / "ca.pem"
        self.certificate.write_bytes(self._root().public_bytes(serialization.Encoding.PEM))

    def server_context(self) -> ssl.SSLContext:
        """Speaks HTTP/1.1 alone, and shows each caller the certificate of the name it asked for."""

        def choose(connection: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> None:
            connection.context = self._context(name or NAMELESS)

        first = self._context(NAMELESS)
        first.sni_callback = choose
        return first

    def _context(self, name: str) -> ssl.SSLContext:
        with self._lock:
            if name not in self._contexts:
                self._contexts[name] = self._made(name)
            return self._contexts[name]

    def _made(self, name: str) -> ssl.SSLContext:
        path = self._directory / f"{len(self._contexts)}.pem"
        leaf = self._leaf(name).public_bytes(serialization.Encoding.PEM)
        path.write_bytes(leaf + self._leaf_key_text)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(path)
        return context

    def _root(self) -> x509.Certificate:
        return (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _leaf(self, name: str) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == NAMELESS:
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return (
            self._builder(subject, self._leaf_key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(server, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        authority = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _VALID)
            .not_valid_after(self._now + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False
            )
        )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
