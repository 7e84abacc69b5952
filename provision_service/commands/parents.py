"""Whom a workspace may work for."""

from __future__ import annotations

from sqlalchemy import Connection

from agentworkspace.core.refusal import Refusal
from provision_service.domain.refusals import Reason
from provision_service.storage import workspaces


def check(tx: Connection, *, workspace_id: str, tenant_id: str, parent_id: str) -> None:
    """Raise PARENT_INVALID: another tenant's, removed, unknown, or closing a cycle."""
    if not parent_id:
        return
    problem = workspaces.parent_problem(
        tx, workspace_id=workspace_id, tenant_id=tenant_id, parent_id=parent_id
    )
    if problem is not None:
        raise Refusal(
            Reason.PARENT_INVALID,
            f"parent {parent_id} {problem}",
            metadata={"parent_id": parent_id},
        )
