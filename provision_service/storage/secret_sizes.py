"""How large the secrets are that a workspace sees: all of them together have a limit."""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.orm import aliased

from provision_service.domain.secrets import MergedSecrets
from provision_service.storage.models import SecretRow
from provision_service.storage.secrets import reaches

_S = SecretRow


def bytes_seen_by_workspace(
    tx: Connection, *, tenant_id: str, workspace_id: str | None
) -> dict[str, int]:
    """Size of each secret that a workspace sees (None: the tenant's own only), by key."""
    query = (
        select(_S.key, _S.size_bytes)
        .where(_S.tenant_id == tenant_id, reaches(workspace_id))
        .order_by(_S.workspace_id.is_not(None))
    )
    return {row.key: row.size_bytes for row in tx.execute(query)}


def largest_workspace_bytes(tx: Connection, *, tenant_id: str) -> int:
    """The most that any workspace of the tenant sees; what it hides of the tenant's own
    does not count.
    """
    own, hidden = aliased(SecretRow), aliased(SecretRow)
    per_workspace = (
        select(func.sum(own.size_bytes - func.coalesce(hidden.size_bytes, 0)).label("extra"))
        .outerjoin(
            hidden,
            and_(
                hidden.tenant_id == own.tenant_id,
                hidden.workspace_id.is_(None),
                hidden.key == own.key,
            ),
        )
        .where(own.tenant_id == tenant_id, own.workspace_id.is_not(None))
        .group_by(own.workspace_id)
        .subquery()
    )
    shared = select(func.coalesce(func.sum(_S.size_bytes), 0)).where(
        _S.tenant_id == tenant_id, _S.workspace_id.is_(None)
    )
    most = select(func.greatest(func.coalesce(func.max(per_workspace.c.extra), 0), 0))
    total: int = tx.execute(select(shared.scalar_subquery() + most.scalar_subquery())).scalar_one()
    return int(total)


def size_of_all(secrets: MergedSecrets) -> int:
    """What readable secrets count towards the limit: key and value together, as it is stored."""
    return sum(
        len(row.key) + len(row.value.reveal().encode("utf-8"))
        for row in secrets.by_key.values()
        if row.value is not None
    )
