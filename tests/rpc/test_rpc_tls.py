"""TLS and mutual TLS, with certificates made here and now."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentworkspace.client.channel import ClientTls, aio_channel
from agentworkspace.server.listening import ListenRefused, ServerTls
from tests.rpc.echo_server import SAY, Text, serving, story

DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)


@dataclass
class Authority:
    """A certificate authority that writes PEM files into a directory."""

    directory: Path
    name: str

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        certificate = self._builder(self._subject, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file = self._write(f"{self.name}.pem", certificate.sign(self._key, hashes.SHA256()))

    def issue(self, name: str) -> tuple[Path, Path]:
        """(certificate, key) good for 127.0.0.1 and for the name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name)]
        )
        certificate = self._builder(subject, key).add_extension(names, critical=False)
        key_file = self.directory / f"{self.name}-{name}.key"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        signed = certificate.sign(self._key, hashes.SHA256())
        return self._write(f"{self.name}-{name}.pem", signed), key_file

    def _builder(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self.directory / name
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


def server_tls(authority: Authority, client_ca: Path | None = None) -> ServerTls:
    certificate, key = authority.issue("server")
    return ServerTls(certificate_file=certificate, key_file=key, client_ca_file=client_ca)


async def say(port: int, tls: ClientTls | None) -> str:
    async with aio_channel(f"127.0.0.1:{port}", tls=tls, retries=False) as channel:
        call = channel.unary_unary(
            SAY,
            request_serializer=Text.SerializeToString,
            response_deserializer=Text.FromString,
        )
        answer: Text = await call(Text(value="over the wire"), timeout=10)
        return answer.value


async def refused(port: int, tls: ClientTls | None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await say(port, tls)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@story
async def test_a_client_that_trusts_the_authority_is_served(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    async with serving(server={"tls": server_tls(ours)}) as parts:
        assert await say(parts.port, ClientTls(ca_file=ours.file)) == "over the wire"


@story
async def test_plaintext_and_strange_authorities_get_nowhere(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    async with serving(server={"tls": server_tls(ours)}) as parts:
        await refused(parts.port, None)
        await refused(parts.port, ClientTls(ca_file=other.file))


@story
async def test_with_mutual_tls_only_certified_clients_are_served(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    certificate, key = ours.issue("client")
    strange_certificate, strange_key = other.issue("client")
    async with serving(server={"tls": server_tls(ours, client_ca=ours.file)}) as parts:
        known = ClientTls(ca_file=ours.file, certificate_file=certificate, key_file=key)
        strange = ClientTls(
            ca_file=ours.file, certificate_file=strange_certificate, key_file=strange_key
        )
        assert await say(parts.port, known) == "over the wire"
        await refused(parts.port, ClientTls(ca_file=ours.file))
        await refused(parts.port, strange)


@story
async def test_with_tls_a_listener_off_loopback_needs_no_permission(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    listen = "0.0.0.0:0"
    async with serving(server={"listen": listen, "tls": server_tls(ours)}) as parts:
        assert await say(parts.port, ClientTls(ca_file=ours.file)) == "over the wire"


@story
async def test_a_server_known_under_another_name_can_be_checked_for_that(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    async with serving(server={"tls": server_tls(ours)}) as parts:
        assert await say(parts.port, ClientTls(ca_file=ours.file, server_name="server"))
        await refused(parts.port, ClientTls(ca_file=ours.file, server_name="elsewhere"))


@story
async def test_a_renewed_certificate_is_taken_over_by_the_next_connection(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    tls = server_tls(old)
    async with serving(server={"tls": tls}) as parts:
        assert await say(parts.port, ClientTls(ca_file=old.file)) == "over the wire"
        certificate, key = new.issue("server")
        certificate.replace(tls.certificate_file)
        # Between the two: a certificate without its key serves nobody, so the old pair goes on.
        assert await say(parts.port, ClientTls(ca_file=old.file)) == "over the wire"
        key.replace(tls.key_file)
        assert await say(parts.port, ClientTls(ca_file=new.file)) == "over the wire"
        await refused(parts.port, ClientTls(ca_file=old.file))


@story
async def test_a_certificate_that_is_gone_or_broken_leaves_the_last_in_force(
    tmp_path: Path,
) -> None:
    ours = Authority(tmp_path, "ours")
    tls = server_tls(ours)
    async with serving(server={"tls": tls}) as parts:
        tls.certificate_file.write_text("no certificate")
        assert await say(parts.port, ClientTls(ca_file=ours.file)) == "over the wire"
        tls.certificate_file.unlink()
        assert await say(parts.port, ClientTls(ca_file=ours.file)) == "over the wire"


@story
async def test_with_mutual_tls_the_clients_authority_is_read_again_too(tmp_path: Path) -> None:
    ours, next_one = Authority(tmp_path, "ours"), Authority(tmp_path, "next")
    accepted = tmp_path / "clients.pem"
    accepted.write_bytes(ours.file.read_bytes())
    certificate, key = next_one.issue("client")
    client = ClientTls(ca_file=ours.file, certificate_file=certificate, key_file=key)
    async with serving(server={"tls": server_tls(ours, client_ca=accepted)}) as parts:
        await refused(parts.port, client)
        accepted.write_bytes(ours.file.read_bytes() + next_one.file.read_bytes())
        assert await say(parts.port, client) == "over the wire"


@pytest.mark.parametrize("wrong", ["certificate", "key", "of another", "authorities"])
def test_tls_files_that_are_of_no_use_are_named_before_anybody_listens(
    tmp_path: Path, wrong: str
) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("one")
    client_ca = authority.file
    junk = tmp_path / "junk.pem"
    junk.write_text("no PEM file")
    match wrong:
        case "certificate":
            certificate = junk
        case "key":
            key = junk
        case "of another":
            _, key = authority.issue("another")
        case _:
            client_ca = junk
    tls = ServerTls(certificate_file=certificate, key_file=key, client_ca_file=client_ca)
    told = (
        f"{junk} holds no" if client_ca is junk else f"{certificate} and {key} are no certificate"
    )
    with pytest.raises(ListenRefused) as refused:
        tls.require_usable()
    assert str(refused.value).startswith(told)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("one")
    locked = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"swordfish"),
    )
    key.write_bytes(locked)
    with pytest.raises(ListenRefused, match="without a password"):
        ServerTls(certificate_file=certificate, key_file=key).require_usable()
