"""The settings that every service has.

In its config.py, a service derives a class from ServiceSettings and declares each further variable
there as a field.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from agentworkspace.core.secret import Secret
from agentworkspace.service import settings_values as values
from agentworkspace.service.declared_settings import refuse, secret_setting, setting
from agentworkspace.service.listener_settings import ListenerSettings

MOST_PROCESSES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings(ListenerSettings):
    """The settings that all services have, besides those of the listeners."""

    database_url: Secret | None = secret_setting(
        "{SERVICE}_DATABASE_URL",
        values.database_url,
        "PostgreSQL 14 or newer, several hosts with commas; required unless serve --embedded",
    )
    database_pooled: bool = setting(
        "{SERVICE}_DATABASE_POOLED",
        "0",
        values.switch,
        "1: the URL leads to a pooler in transaction mode",
    )
    credentials_file: Path | None = setting(
        "{SERVICE}_CREDENTIALS_FILE",
        "",
        values.optional(values.file),
        "JSON file of the callers; required by serve, re-read on change",
    )
    threads: int = setting(
        "{SERVICE}_THREADS",
        "8",
        values.whole(2, 128),
        "threads for calls; a process holds five database connections more",
    )
    processes: int = setting(
        "{SERVICE}_PROCESSES", "1", values.whole(1, MOST_PROCESSES), "processes that share the port"
    )
    max_waiting: int = setting(
        "{SERVICE}_MAX_WAITING",
        "512",
        values.whole(1, 1_000_000),
        "calls that may wait for a thread; more are OVERLOADED",
    )
    stop_grace: timedelta = setting(
        "{SERVICE}_STOP_GRACE_SECONDS",
        "20",
        values.seconds(0, 600),
        "how long the end may take after SIGTERM; running calls get most of it",
    )
    metrics_listen: str | None = setting(
        "{SERVICE}_METRICS_LISTEN",
        "",
        values.optional(values.address),
        "where Prometheus metrics are served; with several processes each takes the next port",
    )
    audit_key_file: Path | None = setting(
        "{SERVICE}_AUDIT_KEY_FILE",
        "",
        values.optional(values.file),
        "PEM file of the Ed25519 key that signs the audit; without it the audit is chained only",
    )
    audit_keep_days: int | None = setting(
        "{SERVICE}_AUDIT_KEEP_DAYS",
        "",
        values.optional(values.whole(1, 36_500)),
        "how long `audit prune` leaves rows of the audit; default for ever",
    )
    log_format: str = setting(
        "{SERVICE}_LOG_FORMAT", "json", values.one_of("json", "console"), "json or console"
    )
    log_level: str = setting(
        "{SERVICE}_LOG_LEVEL",
        "info",
        values.one_of("debug", "info", "warning", "error"),
        "debug, info, warning or error",
    )
    traces: str = setting(
        "OTEL_TRACES_EXPORTER",
        "none",
        values.one_of("none", "otlp"),
        "otlp: spans go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names (OTEL_… variables"
        " are OpenTelemetry's own); needs agentworkspace[otel]",
    )
    traces_protocol: str = setting(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "grpc",
        values.only("grpc"),
        "how they go there: the collector's port for gRPC, mostly 4317",
    )
    home: Path = setting(
        "WORKSPACE_SERVICES_HOME",
        ".data",
        values.directory,
        "where the embedded database keeps its data",
    )

    def require_for_serving(self, *, embedded: bool) -> None:
        """Raise BadSettings when a setting is missing without which `serve` cannot run."""
        refuse(self.missing(embedded=embedded))

    def missing(self, *, embedded: bool) -> list[str]:
        """A sentence for each missing setting without which `serve` cannot run."""
        problems = []
        if self.database_url is None and not embedded:
            name = f"{self.SERVICE}_DATABASE_URL"
            problems.append(
                f"{name} must be set, or {name}_FILE; serve --embedded starts a database of its own"
            )
        if self.credentials_file is None:
            problems.append(
                f"{self.SERVICE}_CREDENTIALS_FILE must be set: nobody could call the service"
            )
        return problems
