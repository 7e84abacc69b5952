"""What a workspace is: the stored spec every launch is rebuilt from, with shape and defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import Final

from agentworkspace.core.delivery_mode import DeliveryMode
from agentworkspace.core.ids import UUID_WANTED, is_canonical_uuid
from agentworkspace.core.public_urls import parse_destination
from agentworkspace.core.refusal import Violation
from provision_service.catalogue.catalogue import Catalogue
from provision_service.domain.billing import BillingMode
from provision_service.domain.environment_names import NAME_WANTED, is_environment_name

DEFAULT_TIER: Final = 3
MAX_CONCURRENT_TASKS: Final = 1000
MAX_REQUIRED_ENV: Final = 64
MAX_COMPUTE_BYTES: Final = 16 * 1024
_MAX_LENGTHS: Final = {"name": 200, "runtime": 64, "model": 256, "template": 128, "role": 4096}
_MULTILINE: Final = frozenset({"role"})


@unique
class WorkspaceAccess(StrEnum):
    """What the agent may do in the files of its workspace; told, not enforced here."""

    NONE = "none"
    READ_ONLY = "read_only"
    READ_WRITE = "read_write"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSpec:
    """Every field of CreateWorkspace.workspace; empty text means not given.

    `budget_limit_micros` None is no limit. `compute` is a document kept as it came.
    `billing_mode_override` is stored text: unknown text is ignored and said in steps.
    """

    name: str = ""
    runtime: str = "claude-code"
    model: str = ""
    template: str = ""
    parent_id: str = ""
    tier: int = DEFAULT_TIER
    role: str = ""
    max_concurrent_tasks: int = 1
    budget_limit_micros: int | None = None
    compute: Mapping[str, object] = field(default_factory=dict)
    delivery_mode: str = DeliveryMode.PUSH
    url: str = ""
    workspace_access: str = WorkspaceAccess.NONE
    required_env: tuple[str, ...] = ()
    billing_mode_override: str = ""


def complete(
    spec: WorkspaceSpec, catalogue: Catalogue, *, forced_tier: int | None = None
) -> WorkspaceSpec:
    """Fill in the defaults of what was not given (empty text, zero).

    The model is trimmed; required names are kept once each; `forced_tier` wins over any
    tier that was asked for (a SaaS deployment forces 4).
    """
    runtime = spec.runtime.strip() or catalogue.default_runtime
    external = runtime in catalogue.external_like
    return replace(
        spec,
        runtime=runtime,
        model=spec.model.strip(),
        tier=forced_tier or spec.tier or DEFAULT_TIER,
        max_concurrent_tasks=spec.max_concurrent_tasks or 1,
        delivery_mode=spec.delivery_mode or (DeliveryMode.POLL if external else DeliveryMode.PUSH),
        workspace_access=spec.workspace_access or WorkspaceAccess.NONE,
        required_env=tuple(dict.fromkeys(spec.required_env)),
    )


def spec_violations(spec: WorkspaceSpec, *, field: str = "workspace") -> list[Violation]:
    """Everything wrong with a spec's shape, before any state is looked at.

    Zero and empty text are "not given" and right wherever there is a default.
    """
    checks = (
        _text_violations(spec),
        _number_violations(spec),
        _choice_violations(spec),
        _required_env_violations(spec),
        _reference_violations(spec),
    )
    return [Violation(f"{field}.{name}", said) for found in checks for name, said in found]


def _text_violations(spec: WorkspaceSpec) -> Iterator[tuple[str, str]]:
    for name, limit in _MAX_LENGTHS.items():
        text: str = getattr(spec, name)
        if len(text) > limit:
            yield name, f"must be at most {limit} characters"
        allowed = "\n\t" if name in _MULTILINE else ""
        if any(c not in allowed and (ord(c) < 32 or ord(c) == 127) for c in text):
            yield name, "must not contain control characters"


def _number_violations(spec: WorkspaceSpec) -> Iterator[tuple[str, str]]:
    if not 0 <= spec.tier <= 4:
        yield "tier", "must be 1 to 4"
    if not 0 <= spec.max_concurrent_tasks <= MAX_CONCURRENT_TASKS:
        yield "max_concurrent_tasks", f"must be 1 to {MAX_CONCURRENT_TASKS}"
    if spec.budget_limit_micros is not None and spec.budget_limit_micros < 0:
        yield "budget_limit_micros", "must not be negative"
    if len(json.dumps(dict(spec.compute), default=str)) > MAX_COMPUTE_BYTES:
        yield "compute", f"must be at most {MAX_COMPUTE_BYTES} bytes as JSON"


def _choice_violations(spec: WorkspaceSpec) -> Iterator[tuple[str, str]]:
    choices = (
        ("delivery_mode", spec.delivery_mode, tuple(DeliveryMode)),
        ("workspace_access", spec.workspace_access, tuple(WorkspaceAccess)),
        ("billing_mode_override", spec.billing_mode_override, tuple(BillingMode)),
    )
    for name, value, allowed in choices:
        if value and value not in allowed:
            yield name, f"must be one of: {', '.join(allowed)}"


def _required_env_violations(spec: WorkspaceSpec) -> Iterator[tuple[str, str]]:
    if len(spec.required_env) > MAX_REQUIRED_ENV:
        yield "required_env", f"must have at most {MAX_REQUIRED_ENV} names"
    for index, name in enumerate(spec.required_env):
        if not is_environment_name(name):
            yield f"required_env[{index}]", NAME_WANTED


def _reference_violations(spec: WorkspaceSpec) -> Iterator[tuple[str, str]]:
    if spec.parent_id and not is_canonical_uuid(spec.parent_id):
        yield "parent_id", UUID_WANTED
    if spec.url:
        destination = parse_destination(spec.url)
        if isinstance(destination, str):
            yield "url", destination
