"""The settings of provision-service: read here, from the environment, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from agentworkspace.core.secret import Secret
from provision_service import config_values as values

T = TypeVar("T")
_SETTING: Final = "setting"
_LONGEST: Final = timedelta(hours=24)
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
        "PROVISION_LISTEN", "127.0.0.1:7102", values.address, "where gRPC is served"
    )
    database_url: Secret | None = _setting(
        "PROVISION_DATABASE_URL",
        "",
        values.optional(values.database_url),
        "PostgreSQL 14 or newer; required unless serve --embedded",
        secret=True,
    )
    database_pooled: bool = _setting(
        "PROVISION_DATABASE_POOLED",
        "0",
        values.switch,
        "1: the URL leads to a pooler in transaction mode",
    )
    credentials_file: Path | None = _setting(
        "PROVISION_CREDENTIALS_FILE",
        "",
        values.optional(values.file),
        "JSON file of the callers; required by serve, re-read on change",
    )
    secrets_keys_file: Path | None = _setting(
        "PROVISION_SECRETS_KEYS_FILE",
        "",
        values.optional(values.file),
        "JSON file of the keys that encrypt secrets; required by serve, re-read on change",
    )
    catalogue_file: Path | None = _setting(
        "PROVISION_CATALOGUE_FILE",
        "",
        values.optional(values.file),
        "YAML file of providers and runtimes; default the shipped one, re-read on change",
    )
    templates_file: Path | None = _setting(
        "PROVISION_TEMPLATES_FILE",
        "",
        values.optional(values.file),
        "YAML file of workspace templates and probes; re-read on change",
    )
    registry_address: str = _setting(
        "PROVISION_REGISTRY_ADDRESS",
        "127.0.0.1:7101",
        values.target,
        "where registry-service is reached from here",
    )
    registry_token_file: Path | None = _setting(
        "PROVISION_REGISTRY_TOKEN_FILE",
        "",
        values.optional(values.file),
        "file with this service's own credential at the registry; required, re-read on change",
    )
    registry_tls: bool = _setting(
        "PROVISION_REGISTRY_TLS", "0", values.switch, "1: speak TLS with the registry"
    )
    registry_ca_file: Path | None = _setting(
        "PROVISION_REGISTRY_CA_FILE",
        "",
        values.optional(values.file),
        "PEM authorities of the registry; default the system's. Boxes get it too",
    )
    registry_certificate_file: Path | None = _setting(
        "PROVISION_REGISTRY_CERTIFICATE_FILE",
        "",
        values.optional(values.file),
        "PEM chain that this service shows to the registry (mutual TLS)",
    )
    registry_key_file: Path | None = _setting(
        "PROVISION_REGISTRY_KEY_FILE",
        "",
        values.optional(values.file),
        "PEM key of that certificate",
    )
    box_registry_address: str | None = _setting(
        "PROVISION_BOX_REGISTRY_ADDRESS",
        "",
        values.optional(values.box_target),
        "where boxes reach the registry, host:port, or https://host:port for TLS with the system's"
        " authorities; default PROVISION_REGISTRY_ADDRESS",
    )
    default_billing: str = _setting(
        "PROVISION_DEFAULT_BILLING",
        "byok",
        values.one_of("byok", "platform_managed"),
        "default payer of a tenant; gates SetGlobalSecret and nothing else",
    )
    tickets_from_birth: bool = _setting(
        "PROVISION_TICKETS_FROM_BIRTH",
        "0",
        values.switch,
        "1: only a ticket opens a new workspace's first registration",
    )
    lease: timedelta = _setting(
        "PROVISION_LEASE",
        "15m",
        values.duration(timedelta(seconds=1), _LONGEST),
        "how long a launch is claimed without CompleteProvision or ExtendProvision",
    )
    ticket_ttl: timedelta = _setting(
        "PROVISION_TICKET_TTL",
        "45m",
        values.duration(timedelta(seconds=1), _LONGEST),
        "how long a bootstrap ticket lives; never less than the lease",
    )
    allow_private_urls: bool = _setting(
        "PROVISION_ALLOW_PRIVATE_URLS",
        "0",
        values.switch,
        "1: the url of a workspace may lead into a private address range",
    )
    force_tier: int | None = _setting(
        "PROVISION_FORCE_TIER",
        "",
        values.optional(values.whole(1, 4)),
        "tier of every new workspace, whatever was asked for; a SaaS deployment sets 4",
    )
    probes: str = _setting(
        "PROVISION_PROBES",
        "warn",
        values.one_of("off", "warn", "enforce"),
        "credential probes at create and provision: off, warn, or enforce (refuses on 401)",
    )
    probes_allow_private: bool = _setting(
        "PROVISION_PROBES_ALLOW_PRIVATE",
        "0",
        values.switch,
        "1: a probe may connect to private addresses",
    )
    probes_allow_loopback_http: bool = _setting(
        "PROVISION_PROBES_ALLOW_LOOPBACK_HTTP",
        "0",
        values.switch,
        "1: a probe may speak plain http with this machine (tests)",
    )
    reconciler: bool = _setting(
        "PROVISION_RECONCILER", "on", values.on_off, "off: never mark silent boxes for a launch"
    )
    platform_base_url: str | None = _setting(
        "PLATFORM_LLM_BASE_URL",
        "",
        values.optional(values.web_url),
        "the metered proxy, openai protocol",
    )
    platform_anthropic_base_url: str | None = _setting(
        "PLATFORM_LLM_ANTHROPIC_BASE_URL",
        "",
        values.optional(values.web_url),
        "the metered proxy, anthropic protocol",
    )
    platform_usage_url: str | None = _setting(
        "PLATFORM_LLM_USAGE_URL",
        "",
        values.optional(values.web_url),
        "where the proxy tells what was used",
    )
    platform_usage_token: Secret | None = _setting(
        "PLATFORM_LLM_USAGE_TOKEN",
        "",
        values.optional(values.secret),
        "usage token of the deployment; serves a single tenant",
        secret=True,
    )
    platform_usage_token_shared: bool = _setting(
        "PLATFORM_LLM_USAGE_TOKEN_SHARED",
        "0",
        values.switch,
        "1: several tenants may use the token of the deployment",
    )
    threads: int = _setting(
        "PROVISION_THREADS", "8", values.whole(2, 128), "threads, and so database connections"
    )
    processes: int = _setting(
        "PROVISION_PROCESSES", "1", values.whole(1, MOST_PROCESSES), "processes that share the port"
    )
    max_waiting: int = _setting(
        "PROVISION_MAX_WAITING",
        "512",
        values.whole(1, 1_000_000),
        "calls that may wait for a thread; more are OVERLOADED",
    )
    deadline_ceiling: timedelta = _setting(
        "PROVISION_DEADLINE_CEILING_SECONDS",
        "30",
        values.seconds(0.1, 600),
        "the longest a call may take, whatever its client allows",
    )
    stop_grace: timedelta = _setting(
        "PROVISION_STOP_GRACE_SECONDS",
        "20",
        values.seconds(0, 600),
        "how long running calls may finish after SIGTERM",
    )
    tls_certificate: Path | None = _setting(
        "PROVISION_TLS_CERTIFICATE_FILE",
        "",
        values.optional(values.file),
        "PEM chain of the server; with the key it turns TLS on",
    )
    tls_key: Path | None = _setting(
        "PROVISION_TLS_KEY_FILE", "", values.optional(values.file), "PEM key of the server"
    )
    tls_client_ca: Path | None = _setting(
        "PROVISION_TLS_CLIENT_CA_FILE",
        "",
        values.optional(values.file),
        "PEM authorities; only clients with a certificate of theirs may connect",
    )
    insecure: bool = _setting(
        "INSECURE", "0", values.switch, "1: allow plain text off loopback; somebody else encrypts"
    )
    reflection: bool = _setting("PROVISION_REFLECTION", "1", values.switch, "0: no reflection")
    metrics_listen: str | None = _setting(
        "PROVISION_METRICS_LISTEN",
        "",
        values.optional(values.address),
        "where Prometheus metrics are served; with several processes each takes the next port",
    )
    log_format: str = _setting(
        "PROVISION_LOG_FORMAT", "json", values.one_of("json", "console"), "json or console"
    )
    log_level: str = _setting(
        "PROVISION_LOG_LEVEL",
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

    @property
    def address_for_boxes(self) -> str:
        """What a box gets as WORKSPACE_REGISTRY_ADDRESS.

        Without the authorities as text it is the address that tells a box to speak TLS.
        """
        address = self.box_registry_address or self.registry_address
        bare = self.registry_tls and self.registry_ca_file is None
        return f"https://{address}" if bare and "://" not in address else address

    @property
    def ticket_lifetime(self) -> timedelta:
        """A ticket that died before its claim would leave a box that can never get in."""
        return max(self.ticket_ttl, self.lease)


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
            "PROVISION_DATABASE_URL must be set; or serve --embedded starts a database of its own"
        )
    if settings.credentials_file is None:
        problems.append("PROVISION_CREDENTIALS_FILE must be set: nobody could call the service")
    if settings.secrets_keys_file is None:
        problems.append("PROVISION_SECRETS_KEYS_FILE must be set: no secret could be stored")
    if settings.registry_token_file is None:
        problems.append("PROVISION_REGISTRY_TOKEN_FILE must be set: the registry would refuse us")
    if problems:
        raise BadSettings(problems)


def shown(environ: Mapping[str, str]) -> list[Shown]:
    """Every setting, valid or not, as an operator may see it."""
    rows = []
    for setting in SETTINGS.values():
        text = _text(environ, setting)
        # What stands before an @ in a URL is a password that somebody put in the wrong place.
        hidden = setting.secret or ("://" in text and "@" in text)
        visible = ("set" if text else "") if hidden else text
        rows.append(Shown(setting.name, visible, setting.default, setting.meaning))
    return rows


def _text(environ: Mapping[str, str], setting: Setting) -> str:
    return environ.get(setting.name, "").strip() or setting.default


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        problems.append("PROVISION_TLS_CERTIFICATE_FILE and PROVISION_TLS_KEY_FILE go together")
    if settings.tls_client_ca is not None and settings.tls_certificate is None:
        problems.append("PROVISION_TLS_CLIENT_CA_FILE needs PROVISION_TLS_CERTIFICATE_FILE")
    if (settings.registry_certificate_file is None) != (settings.registry_key_file is None):
        problems.append(
            "PROVISION_REGISTRY_CERTIFICATE_FILE and PROVISION_REGISTRY_KEY_FILE go together"
        )
    tls_only = (settings.registry_ca_file, settings.registry_certificate_file)
    if any(tls_only) and not settings.registry_tls:
        problems.append(
            "PROVISION_REGISTRY_CA_FILE and PROVISION_REGISTRY_CERTIFICATE_FILE need"
            " PROVISION_REGISTRY_TLS=1"
        )
    if settings.platform_usage_token_shared and settings.platform_usage_token is None:
        problems.append("PLATFORM_LLM_USAGE_TOKEN_SHARED needs PLATFORM_LLM_USAGE_TOKEN")
    return problems
