"""Claims whose lease ran out before their launch began."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, update

from provision_service.domain.lifecycle import ProvisionState
from provision_service.storage.models import ProvisionRow, WorkspaceRow
from provision_service.storage.provisions import OPEN

_P = ProvisionRow
_S = ProvisionState


def lapse(tx: Connection, limit: int) -> list[tuple[str, str]]:
    """End claims whose lease ran out before BeginIncarnation; (provision, workspace) of each.

    Whether a launch that was handed out lapses is the registry's to say: its ticket may live
    longer than the claim.

    Locks the workspaces first, as everybody does; what is locked has its turn next time.
    """
    is_due = (
        _P.complete_time.is_(None),
        _P.state == _S.CLAIMED.value,
        _P.lease_expire_time <= func.clock_timestamp(),
    )
    due = (
        select(_P.provision_id)
        .join(WorkspaceRow, WorkspaceRow.workspace_id == _P.workspace_id)
        .where(*is_due)
        .order_by(_P.lease_expire_time)
        .limit(limit)
        .with_for_update(of=WorkspaceRow, key_share=True, skip_locked=True)
    )
    provision_ids = list(tx.scalars(due))
    ended = tx.execute(
        update(ProvisionRow)
        .where(_P.provision_id.in_(provision_ids), *is_due)
        .values(state=_S.LAPSED.value)
        .returning(_P.provision_id, _P.workspace_id)
    )
    return sorted((row.provision_id, row.workspace_id) for row in ended)


def with_live_claim(tx: Connection, workspace_ids: list[str]) -> set[str]:
    """Which of these workspaces somebody is launching."""
    query = select(_P.workspace_id).where(
        _P.workspace_id.in_(workspace_ids),
        _P.state.in_(OPEN),
        _P.complete_time.is_(None),
        _P.lease_expire_time > func.clock_timestamp(),
    )
    return set(tx.scalars(query))
