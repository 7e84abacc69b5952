"""Translates between rows of workspaces and what the rest of the service knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row

from provision_service.domain.lifecycle import NeedsLaunchReason, WorkspaceStatus
from provision_service.domain.records import LastError, NeedsLaunch, Workspace
from provision_service.domain.spec import WorkspaceSpec
from provision_service.storage.tenants import TenantFacts, tenant_facts

_SPEC_COLUMNS: Final = (
    "name",
    "runtime",
    "model",
    "template",
    "tier",
    "role",
    "max_concurrent_tasks",
    "budget_limit_micros",
    "delivery_mode",
    "url",
    "workspace_access",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A workspace as read, with its tenant's facts."""

    workspace: Workspace
    tenant: TenantFacts


def spec_values(spec: WorkspaceSpec) -> dict[str, Any]:
    """The columns of a spec."""
    values = {name: getattr(spec, name) for name in _SPEC_COLUMNS}
    values["parent_id"] = spec.parent_id or None
    values["compute"] = dict(spec.compute)
    values["required_env"] = list(spec.required_env)
    values["billing_mode_override"] = spec.billing_mode_override or None
    return values


def held_of(row: Row[Any]) -> Held:
    """The workspace in a row, with its tenant's columns."""
    return Held(
        workspace=workspace_of(row, row.tenant_input_revision),
        tenant=tenant_facts(row, row.tenant_input_revision),
    )


def workspace_of(row: Row[Any], tenant_input_revision: int) -> Workspace:
    """The workspace in a row; its inputs are its own and its tenant's."""
    return Workspace(
        id=row.workspace_id,
        tenant_id=row.tenant_id,
        spec=_spec(row),
        status=WorkspaceStatus(row.status),
        incarnation=row.incarnation,
        etag=str(row.revision),
        input_revision=row.input_revision + tenant_input_revision,
        admitted=row.admitted,
        create_time=row.create_time,
        update_time=row.update_time,
        remove_time=row.remove_time,
        last_error=_last_error(row.last_error),
        needs_launch=_needs_launch(row),
    )


def _spec(row: Row[Any]) -> WorkspaceSpec:
    return WorkspaceSpec(
        **{name: getattr(row, name) for name in _SPEC_COLUMNS},
        parent_id=row.parent_id or "",
        compute=row.compute,
        required_env=tuple(row.required_env),
        billing_mode_override=row.billing_mode_override or "",
    )


def _last_error(document: Mapping[str, Any] | None) -> LastError | None:
    if document is None:
        return None
    return LastError(
        code=document["code"],
        message=document["message"],
        incarnation=document["incarnation"],
        time=datetime.fromisoformat(document["time"]),
    )


def _needs_launch(row: Row[Any]) -> NeedsLaunch | None:
    if row.needs_launch_reason is None:
        return None
    return NeedsLaunch(
        reason=NeedsLaunchReason(row.needs_launch_reason), since=row.needs_launch_since
    )
