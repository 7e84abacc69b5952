"""What a probe asks of a vendor, and how it can end; the asking itself is a client's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Protocol

from agentworkspace.core.secret import Secret
from provision_service.catalogue.catalogue import Provider


@unique
class ProbesPolicy(StrEnum):
    """What a probe may do to a create or a launch: nothing, warn, or refuse a 401."""

    OFF = "off"
    WARN = "warn"
    ENFORCE = "enforce"


@unique
class Verdict(StrEnum):
    """How a probe ended."""

    OK = "OK"
    INVALID = "INVALID"
    MISSING_SCOPE = "MISSING_SCOPE"
    INCONCLUSIVE = "INCONCLUSIVE"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateProbe:
    """One probe of a template: GET `url` with the value of `env` in `header`.

    `header` is a form such as `Authorization: token {value}`. `on_401` and `on_403` say
    what these statuses mean; `scope` is the scope that a MISSING_SCOPE names.
    """

    env: str
    url: str
    header: str
    expect: frozenset[int] = frozenset({200})
    on_401: Verdict = Verdict.INVALID
    on_403: Verdict = Verdict.MISSING_SCOPE
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What a role of workspaces starts from; empty runtime or model leaves the default."""

    name: str
    runtime: str = ""
    model: str = ""
    required_env: tuple[str, ...] = ()
    probes: tuple[TemplateProbe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """One thing to ask. `value` None: not present, so it is answered SKIP without asking.

    Either `probe` is set, or `provider`: then its own endpoint is asked whether it takes
    the credential (and, with `model`, whether it serves that model).
    """

    env: str
    value: Secret | None
    probe: TemplateProbe | None = None
    provider: Provider | None = None
    model: str = ""

    @property
    def is_model_credential(self) -> bool:
        """Whether a refusal concerns the key that the launch would pay with."""
        return self.provider is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """How one request ended; `message` is public text without the value."""

    env: str
    verdict: Verdict
    host: str = ""
    http_status: int = 0
    missing_scope: str = ""
    message: str = ""
    model: str = ""
    provider: str = ""
    is_model_credential: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


class Prober(Protocol):
    """Asks vendors, all in parallel and within three seconds in all; it never raises."""

    def probe(self, requests: Sequence[ProbeRequest]) -> Sequence[ProbeResult]:
        """One result for each request, in their order."""
        ...
