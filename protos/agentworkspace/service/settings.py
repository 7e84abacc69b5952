"""How a service declares its settings, and how they are read from the environment.

A service derives one class from ServiceSettings, in its config.py, and declares each variable
there as a field. Nothing else of a service reads the environment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar, cast

from agentworkspace.core.secret import Secret
from agentworkspace.service import settings_values as values

T = TypeVar("T")
_SETTING: Final = "setting"
# Stands for the service's own name in front of what every service has.
_PREFIX: Final = "{SERVICE}"
MOST_PROCESSES: Final = 64

# What Kubernetes puts into every container for a Service that is called like ours.
_SERVICE_LINK: Final = re.compile(
    r".*(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
# How alike two names must be for one to be the other, misspelt: after our prefix, and as a whole.
_ALIKE: Final = 0.7
_VERY_MUCH_ALIKE: Final = 0.9


class BadSettings(Exception):
    """The service must not start. One line for each bad variable, naming it; never its value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable, as it was declared."""

    name: str
    # As text, as the variable would hold it; empty: there is none.
    default: str
    meaning: str
    read: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as `check-config` lists it; `value` never holds what may be secret."""

    name: str
    value: str
    default: str
    meaning: str


def setting(name: str, default: str, read: Callable[[str], T], meaning: str) -> T:
    """Declares a field and its variable in one line; typed as what `read` returns."""
    return cast(T, field(metadata={_SETTING: Setting(name, default, meaning, read)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What every service of ours can be told. Absent and empty mean the same: the default."""

    # In front of the names of its variables, as `REGISTRY`.
    SERVICE: ClassVar[str]
    # Names that begin like ours and are somebody else's.
    NOT_OURS: ClassVar[frozenset[str]] = frozenset()

    listen: str = setting("{SERVICE}_LISTEN", "", values.address, "where gRPC is served")
    database_url: Secret | None = setting(
        "{SERVICE}_DATABASE_URL",
        "",
        values.optional(values.database_url),
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
        "threads for calls, each with a database connection",
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
    deadline_ceiling: timedelta = setting(
        "{SERVICE}_DEADLINE_CEILING_SECONDS",
        "30",
        values.seconds(0.1, 600),
        "the longest a call may take, whatever its client allows",
    )
    stop_grace: timedelta = setting(
        "{SERVICE}_STOP_GRACE_SECONDS",
        "20",
        values.seconds(0, 600),
        "how long running calls may finish after SIGTERM",
    )
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
    insecure: bool = setting(
        "INSECURE", "0", values.switch, "1: allow plain text off loopback; somebody else encrypts"
    )
    reflection: bool = setting("{SERVICE}_REFLECTION", "1", values.switch, "0: no reflection")
    metrics_listen: str | None = setting(
        "{SERVICE}_METRICS_LISTEN",
        "",
        values.optional(values.address),
        "where Prometheus metrics are served; with several processes each takes the next port",
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
    home: Path = setting(
        "WORKSPACE_SERVICES_HOME",
        ".data",
        values.directory,
        "where the embedded database keeps its data",
    )

    @classmethod
    def declared(cls) -> Mapping[str, Setting]:
        """Each setting by the name of its field."""
        return {each.name: cls._of(each.metadata[_SETTING]) for each in fields(cls)}

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read every variable. BadSettings names all that are wrong, not only the first."""
        found: dict[str, Any] = {}
        problems: list[str] = []
        for attribute, declared in cls.declared().items():
            try:
                found[attribute] = declared.read(_text(environ, declared))
            except ValueError as wrong:
                problems.append(f"{declared.name} {wrong}")
        if problems:
            raise BadSettings(problems)
        settings = cls(**found)
        _refuse(settings.contradictions())
        return settings

    @classmethod
    def shown(cls, environ: Mapping[str, str]) -> list[Shown]:
        """Every setting, valid or not, as anybody may see it.

        A password may stand in any variable by mistake: what its reader refuses is not shown,
        and of the rest only what cannot be one.
        """
        return [
            Shown(each.name, _visible(environ, each), each.default, each.meaning)
            for each in cls.declared().values()
        ]

    @classmethod
    def misspelt(cls, environ: Mapping[str, str]) -> list[str]:
        """A sentence for each variable that looks like a setting and is none; never its value.

        `serve` logs them and starts all the same: a variable that a newer or older version knows
        must not take the service down when it is rolled back. `check-config` refuses them.
        """
        ours = {declared.name for declared in cls.declared().values()}
        sentences = []
        prefix = f"{cls.SERVICE}_"
        for name in sorted(set(environ) - ours - cls.NOT_OURS):
            prefixed = name.startswith(prefix)
            if prefixed and _SERVICE_LINK.fullmatch(name):
                continue
            start, cutoff = (len(prefix), _ALIKE) if prefixed else (0, _VERY_MUCH_ALIKE)
            known = {
                each[start:]: each for each in sorted(ours) if prefixed <= each.startswith(prefix)
            }
            nearest = difflib.get_close_matches(name[start:], known, n=1, cutoff=cutoff)
            if nearest:
                sentences.append(f"{name} is no setting: did you mean {known[nearest[0]]}?")
            elif prefixed:
                sentences.append(f"{name} is no setting: remove it, or see the list")
        return sentences

    def require_for_serving(self, *, embedded: bool) -> None:
        """BadSettings when `serve` lacks what it cannot do without."""
        _refuse(self.missing(embedded=embedded))

    def missing(self, *, embedded: bool) -> list[str]:
        """What `serve` cannot do without and was not told."""
        problems = []
        if self.database_url is None and not embedded:
            problems.append(
                f"{self.SERVICE}_DATABASE_URL must be set; or serve --embedded starts a database"
                " of its own"
            )
        if self.credentials_file is None:
            problems.append(
                f"{self.SERVICE}_CREDENTIALS_FILE must be set: nobody could call the service"
            )
        return problems

    def contradictions(self) -> list[str]:
        """What was told and does not fit together."""
        certificate = f"{self.SERVICE}_TLS_CERTIFICATE_FILE"
        problems = []
        if (self.tls_certificate is None) != (self.tls_key is None):
            problems.append(f"{certificate} and {self.SERVICE}_TLS_KEY_FILE go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            problems.append(f"{self.SERVICE}_TLS_CLIENT_CA_FILE needs {certificate}")
        return problems

    @classmethod
    def _of(cls, declared: Setting) -> Setting:
        name = declared.name.replace(_PREFIX, cls.SERVICE)
        return Setting(name, declared.default, declared.meaning, declared.read)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise BadSettings(problems)


def _text(environ: Mapping[str, str], declared: Setting) -> str:
    return environ.get(declared.name, "").strip() or declared.default


def _visible(environ: Mapping[str, str], declared: Setting) -> str:
    text = _text(environ, declared)
    if text == declared.default:
        return text
    try:
        return values.visible(declared.read(text), text)
    except ValueError:
        return "(set, but not usable)"
