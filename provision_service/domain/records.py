"""Stored facts as the rest of the service sees them; times are aware, ids canonical text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique

from provision_service.domain.billing import Resolution
from provision_service.domain.lifecycle import (
    NeedsLaunchReason,
    ProvisionOutcome,
    ProvisionReason,
    ProvisionState,
    WorkspaceStatus,
)
from provision_service.domain.scope import Scope
from provision_service.domain.spec import WorkspaceSpec
from provision_service.domain.step import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """A resolution with what belongs to it on the wire.

    `refusal_message` is the sentence of `resolution.refusal`, empty without one.
    `stored_override` is the override as it stands, also when it is garbled and ignored.
    """

    resolution: Resolution
    refusal_message: str = ""
    warnings: tuple[Notice, ...] = ()
    stored_override: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """What last went wrong; `code` is the full ErrorReason name or the launcher's own."""

    code: str
    message: str
    incarnation: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsLaunch:
    """Why a workspace should be launched, and since when."""

    reason: NeedsLaunchReason
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A workspace as it stands; `input_revision` covers its tenant's global secrets too."""

    id: str
    tenant_id: str
    spec: WorkspaceSpec
    status: WorkspaceStatus
    incarnation: int
    etag: str
    input_revision: int
    admitted: bool
    create_time: datetime
    update_time: datetime
    remove_time: datetime | None = None
    last_error: LastError | None = None
    needs_launch: NeedsLaunch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One name that was handed out; `fingerprint` is keyed, in hex."""

    name: str
    origin: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionError:
    """What went wrong with a launch."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """One launch. `id` is empty, `state` None for one that was only validated or skipped."""

    id: str
    workspace_id: str
    tenant_id: str
    request_id: str
    caller: str
    reason: ProvisionReason
    state: ProvisionState | None
    incarnation: int = 0
    input_revision: int = 0
    billing: Billing | None = None
    manifest: tuple[ManifestEntry, ...] = ()
    rerun_required: bool = False
    outcome: ProvisionOutcome | None = None
    error: ProvisionError | None = None
    create_time: datetime | None = None
    lease_expire_time: datetime | None = None
    deliver_time: datetime | None = None
    complete_time: datetime | None = None
    register_time: datetime | None = None
    prove_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEntry:
    """A stored secret without its value; `provider` is what its writer said, empty for nothing."""

    key: str
    scope: Scope
    create_time: datetime
    update_time: datetime
    overrides_global: bool = False
    provider: str = ""


@unique
class PlatformCredentialOrigin(StrEnum):
    """How a value became the platform's own."""

    REGISTERED = "registered"
    USAGE_TOKEN = "usage_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformCredential:
    """A value that is the platform's own; `source` is a PlatformCredentialOrigin as stored."""

    name: str
    fingerprint: str
    source: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretHolder:
    """Where a shared value is stored, and which workspaces would start with it."""

    tenant_id: str
    scope: Scope
    workspace_id: str
    key: str
    exposed_workspace_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedGroup:
    """One value that several tenants hold, or that is the platform's own."""

    fingerprint: str
    holders: tuple[SecretHolder, ...]
    platform_credential_names: tuple[str, ...]
