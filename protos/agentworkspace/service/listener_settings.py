"""The settings of a service's listeners, and of the edge behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from typing_extensions import override

from agentworkspace.service import settings_values as values
from agentworkspace.service.declared_settings import DeclaredSettings, setting

_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings(DeclaredSettings):
    """Where a service listens, how that is protected, and what its callers may use of it."""

    listen: str = setting("{SERVICE}_LISTEN", "", values.address, "where gRPC is served")
    tls_certificate: Path | None = setting(
        "{SERVICE}_TLS_CERTIFICATE_FILE",
        "",
        values.optional(values.file),
        "PEM chain of the server; with the key it turns TLS on",
    )
    tls_key: Path | None = setting(
        "{SERVICE}_TLS_KEY_FILE", "", values.optional(values.file), "PEM key of the server"
    )
    tls_client_ca: Path | None = setting(
        "{SERVICE}_TLS_CLIENT_CA_FILE",
        "",
        values.optional(values.file),
        "PEM authorities; only clients with a certificate of theirs may connect",
    )
    control_listen: str | None = setting(
        "{SERVICE}_CONTROL_LISTEN",
        "",
        values.optional(values.address),
        "a listener of the control plane's own: the other one then answers boxes alone",
    )
    control_tls_certificate: Path | None = setting(
        "{SERVICE}_CONTROL_TLS_CERTIFICATE_FILE",
        "",
        values.optional(values.file),
        "PEM chain of that listener; default that of the other one",
    )
    control_tls_key: Path | None = setting(
        "{SERVICE}_CONTROL_TLS_KEY_FILE",
        "",
        values.optional(values.file),
        "PEM key of that listener",
    )
    control_tls_client_ca: Path | None = setting(
        "{SERVICE}_CONTROL_TLS_CLIENT_CA_FILE",
        "",
        values.optional(values.file),
        "PEM authorities of that listener; only clients with a certificate of theirs may connect",
    )
    insecure: bool = setting(
        "INSECURE",
        "0",
        values.switch,
        "1: allow plain text off loopback, where something else encrypts",
    )
    reflection: bool = setting(
        "{SERVICE}_REFLECTION",
        "1",
        values.switch,
        "0: do not tell clients such as grpcurl which methods there are",
    )
    deadline_ceiling: timedelta = setting(
        "{SERVICE}_DEADLINE_CEILING_SECONDS",
        "30",
        values.seconds(0.1, 600),
        "the longest a call may take, whatever its client allows",
    )
    max_request_bytes: int = setting(
        "{SERVICE}_MAX_REQUEST_BYTES",
        "2097152",
        values.whole(65_536, 16_777_216),
        "the largest message that is read; 262144 at most at a listener of the boxes' own",
    )
    accept_compression: bool = setting(
        "{SERVICE}_ACCEPT_COMPRESSION",
        "0",
        values.switch,
        "1: take compressed requests, which cost memory and time before anybody is known",
    )
    max_connection_age: timedelta = setting(
        "{SERVICE}_MAX_CONNECTION_AGE_SECONDS",
        "3600",
        values.seconds(1, 86_400),
        "after that long, give or take a tenth, a client is told to connect again",
    )
    connection_grace: timedelta = setting(
        "{SERVICE}_CONNECTION_GRACE_SECONDS",
        "60",
        values.seconds(1, 3600),
        "how long what runs on such a connection may finish",
    )
    max_streams: int = setting(
        "{SERVICE}_MAX_STREAMS", "1024", values.whole(1, _MOST), "streams served at once"
    )
    calls_per_caller: int = setting(
        "{SERVICE}_MAX_CALLS_PER_CALLER",
        "256",
        values.whole(1, _MOST),
        "calls that one caller of the credentials file may have running",
    )
    calls_per_tenant: int = setting(
        "{SERVICE}_MAX_CALLS_PER_TENANT",
        "128",
        values.whole(1, _MOST),
        "calls that the callers of the same tenants may have running together",
    )
    streams_per_caller: int = setting(
        "{SERVICE}_MAX_STREAMS_PER_CALLER",
        "512",
        values.whole(1, _MOST),
        "streams that one caller may hold",
    )
    streams_per_tenant: int = setting(
        "{SERVICE}_MAX_STREAMS_PER_TENANT",
        "256",
        values.whole(1, _MOST),
        "streams that the callers of the same tenants may hold together",
    )
    unknown_burst: int = setting(
        "{SERVICE}_UNKNOWN_CREDENTIALS_BURST",
        "500",
        values.whole(1, _MOST),
        "calls with an unknown credential that an address may make at once",
    )
    unknown_per_second: int = setting(
        "{SERVICE}_UNKNOWN_CREDENTIALS_PER_SECOND",
        "50",
        values.whole(1, _MOST),
        "how fast that allowance refills",
    )
    unknown_total_burst: int = setting(
        "{SERVICE}_UNKNOWN_CREDENTIALS_TOTAL_BURST",
        "5000",
        values.whole(1, _MOST),
        "the same of all addresses together",
    )
    unknown_total_per_second: int = setting(
        "{SERVICE}_UNKNOWN_CREDENTIALS_TOTAL_PER_SECOND",
        "500",
        values.whole(1, _MOST),
        "how fast that allowance refills",
    )

    @override
    def contradictions(self) -> list[str]:
        problems = []
        for prefix, certificate, key, client_ca in (
            ("", self.tls_certificate, self.tls_key, self.tls_client_ca),
            (
                "CONTROL_",
                self.control_tls_certificate,
                self.control_tls_key,
                self.control_tls_client_ca,
            ),
        ):
            name = f"{self.SERVICE}_{prefix}TLS"
            if (certificate is None) != (key is None):
                problems.append(f"{name}_CERTIFICATE_FILE and {name}_KEY_FILE go together")
            if client_ca is not None and (certificate or self.tls_certificate) is None:
                problems.append(f"{name}_CLIENT_CA_FILE needs {name}_CERTIFICATE_FILE")
        told = (self.control_tls_certificate, self.control_tls_key, self.control_tls_client_ca)
        if self.control_listen is None and any(told):
            name = f"{self.SERVICE}_CONTROL"
            problems.append(
                f"{name}_TLS_CERTIFICATE_FILE, {name}_TLS_KEY_FILE and {name}_TLS_CLIENT_CA_FILE"
                f" have no effect without {name}_LISTEN: set that, or remove them"
            )
        return problems
