"""The settings of registry-service: read here, from the environment, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from agentworkspace.core.secret import Secret
from registry_service import config_values as values
from registry_service.domain.standing import BootstrapPolicy

T = TypeVar("T")
_SETTING: Final = "setting"
MOST_PROCESSES: Final = 64


class BadSettings(Exception):
    """The service must not start. One line for each bad variable, naming it; never its value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable."""

    name: str
    # As text, as the variable would hold it; empty: there is none.
    default: str
    meaning: str
    read: Callable[[str], object]
    secret: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as `check-config` lists it. `value` of a secret is `set` or empty."""

    name: str
    value: str
    default: str
    meaning: str


def _setting(
    name: str, default: str, read: Callable[[str], T], meaning: str, *, secret: bool = False
) -> T:
    """Declares a field and its variable in one line; typed as what `read` returns."""
    setting = Setting(name, default, meaning, read, secret)
    return cast(T, field(metadata={_SETTING: setting}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the variables say. Absent and empty mean the same: the default."""

    listen: str = _setting(
        "REGISTRY_LISTEN", "127.0.0.1:7101", values.address, "where gRPC is served"
    )
    database_url: Secret | None = _setting(
        "REGISTRY_DATABASE_URL",
        "",
        values.optional(values.database_url),
        "PostgreSQL 14 or newer; required unless serve --embedded",
        secret=True,
    )
    database_pooled: bool = _setting(
        "REGISTRY_DATABASE_POOLED",
        "0",
        values.switch,
        "1: the URL leads to a pooler in transaction mode",
    )
    database_listen_url: Secret | None = _setting(
        "REGISTRY_DATABASE_LISTEN_URL",
        "",
        values.optional(values.database_url),
        "direct URL for LISTEN; default the database URL, or polling only when that is pooled",
        secret=True,
    )
    bootstrap_policy: BootstrapPolicy = _setting(
        "REGISTRY_BOOTSTRAP_POLICY",
        "adaptive",
        lambda text: BootstrapPolicy(values.one_of(*BootstrapPolicy)(text)),
        "who may bootstrap without a ticket: adaptive, open or strict",
    )
    credentials_file: Path | None = _setting(
        "REGISTRY_CREDENTIALS_FILE",
        "",
        values.optional(values.file),
        "JSON file of the callers; required by serve, re-read on change",
    )
    heartbeat_interval: timedelta = _setting(
        "REGISTRY_HEARTBEAT_INTERVAL_SECONDS",
        "30",
        values.seconds(1, 3600),
        "how often a box reports; three missed ones make it OFFLINE",
    )
    allow_private_urls: bool = _setting(
        "REGISTRY_ALLOW_PRIVATE_URLS",
        "0",
        values.switch,
        "1: a box may announce a url in a private address range",
    )
    threads: int = _setting(
        "REGISTRY_THREADS",
        "8",
        values.whole(1, 128),
        "threads for calls that are not batched; a process holds ten connections more",
    )
    processes: int = _setting(
        "REGISTRY_PROCESSES", "1", values.whole(1, MOST_PROCESSES), "processes that share the port"
    )
    max_in_flight: int = _setting(
        "REGISTRY_MAX_IN_FLIGHT",
        "2048",
        values.whole(100, 1_000_000),
        "calls served at once; more are OVERLOADED",
    )
    max_waiting: int = _setting(
        "REGISTRY_MAX_WAITING",
        "1024",
        values.whole(1, 1_000_000),
        "calls that may wait for the threads, or for one kind of batch; more are OVERLOADED",
    )
    max_batch: int = _setting(
        "REGISTRY_MAX_BATCH",
        "256",
        values.whole(1, 1000),
        "calls that one database transaction may answer together",
    )
    deadline_ceiling: timedelta = _setting(
        "REGISTRY_DEADLINE_CEILING_SECONDS",
        "30",
        values.seconds(0.1, 600),
        "the longest a call may take, whatever its client allows",
    )
    stop_grace: timedelta = _setting(
        "REGISTRY_STOP_GRACE_SECONDS",
        "20",
        values.seconds(0, 600),
        "how long running calls may finish after SIGTERM",
    )
    refused_burst: int = _setting(
        "REGISTRY_REFUSED_REGISTERS_BURST",
        "200",
        values.whole(1, 1_000_000),
        "refused registers without evidence that a workspace may have at once",
    )
    refused_per_second: int = _setting(
        "REGISTRY_REFUSED_REGISTERS_PER_SECOND",
        "5",
        values.whole(1, 1_000_000),
        "how fast that allowance refills",
    )
    tls_certificate: Path | None = _setting(
        "REGISTRY_TLS_CERTIFICATE_FILE",
        "",
        values.optional(values.file),
        "PEM chain of the server; with the key it turns TLS on",
    )
    tls_key: Path | None = _setting(
        "REGISTRY_TLS_KEY_FILE", "", values.optional(values.file), "PEM key of the server"
    )
    tls_client_ca: Path | None = _setting(
        "REGISTRY_TLS_CLIENT_CA_FILE",
        "",
        values.optional(values.file),
        "PEM authorities; only clients with a certificate of theirs may connect",
    )
    insecure: bool = _setting(
        "INSECURE", "0", values.switch, "1: allow plain text off loopback; somebody else encrypts"
    )
    reflection: bool = _setting("REGISTRY_REFLECTION", "1", values.switch, "0: no reflection")
    metrics_listen: str | None = _setting(
        "REGISTRY_METRICS_LISTEN",
        "",
        values.optional(values.address),
        "where Prometheus metrics are served; with several processes each takes the next port",
    )
    log_format: str = _setting(
        "REGISTRY_LOG_FORMAT", "json", values.one_of("json", "console"), "json or console"
    )
    log_level: str = _setting(
        "REGISTRY_LOG_LEVEL",
        "info",
        values.one_of("debug", "info", "warning", "error"),
        "debug, info, warning or error",
    )
    home: Path = _setting(
        "WORKSPACE_SERVICES_HOME",
        ".data",
        values.directory,
        "where the embedded database keeps its data",
    )


SETTINGS: Final[Mapping[str, Setting]] = {
    each.name: each.metadata[_SETTING] for each in fields(Settings)
}


def load(environ: Mapping[str, str]) -> Settings:
    """Read every variable. BadSettings names all that are wrong, not only the first."""
    found: dict[str, Any] = {}
    problems: list[str] = []
    for attribute, setting in SETTINGS.items():
        try:
            found[attribute] = setting.read(_text(environ, setting))
        except ValueError as wrong:
            problems.append(f"{setting.name} {wrong}")
    if problems:
        raise BadSettings(problems)
    settings = Settings(**found)
    problems = _contradictions(settings)
    if problems:
        raise BadSettings(problems)
    return settings


def require_for_serving(settings: Settings, *, embedded: bool) -> None:
    """BadSettings when `serve` lacks what it cannot do without."""
    problems = []
    if settings.database_url is None and not embedded:
        problems.append(
            "REGISTRY_DATABASE_URL must be set; or serve --embedded starts a database of its own"
        )
    if settings.credentials_file is None:
        problems.append("REGISTRY_CREDENTIALS_FILE must be set: nobody could call the service")
    if problems:
        raise BadSettings(problems)


def shown(environ: Mapping[str, str]) -> list[Shown]:
    """Every setting, valid or not, as an operator may see it."""
    rows = []
    for setting in SETTINGS.values():
        text = _text(environ, setting)
        visible = ("set" if text else "") if setting.secret else text
        rows.append(Shown(setting.name, visible, setting.default, setting.meaning))
    return rows


def _text(environ: Mapping[str, str], setting: Setting) -> str:
    return environ.get(setting.name, "").strip() or setting.default


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        problems.append("REGISTRY_TLS_CERTIFICATE_FILE and REGISTRY_TLS_KEY_FILE go together")
    if settings.tls_client_ca is not None and settings.tls_certificate is None:
        problems.append("REGISTRY_TLS_CLIENT_CA_FILE needs REGISTRY_TLS_CERTIFICATE_FILE")
    return problems
