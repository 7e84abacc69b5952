"""Workspaces with secrets of which nobody said whose credential they are."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import exists, select

from provision_service.storage.models import SecretRow, TenantRow, WorkspaceRow
from provision_service.storage.store import Transaction
from provision_service.storage.workspace_records import Held, held_of

_W = WorkspaceRow
_S = SecretRow


def holders(tx: Transaction, *, keys: Sequence[str], after: str, limit: int) -> list[Held]:
    """Living workspaces with an own secret of one of these names, in the order of their ids."""
    unsaid = exists().where(
        _S.workspace_id == _W.workspace_id, _S.key.in_(keys), _S.provider.is_(None)
    )
    query = (
        select(
            _W.__table__,
            TenantRow.default_billing,
            TenantRow.usage_token_ciphertext,
            TenantRow.usage_token_nonce,
            TenantRow.usage_token_key_id,
            TenantRow.input_revision.label("tenant_input_revision"),
        )
        .join(TenantRow, TenantRow.tenant_id == _W.tenant_id)
        .where(_W.remove_time.is_(None), unsaid)
    )
    if after:
        query = query.where(_W.workspace_id > after)
    return [held_of(row) for row in tx.execute(query.order_by(_W.workspace_id).limit(limit))]
