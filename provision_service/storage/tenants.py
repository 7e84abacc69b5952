"""Tenants: their billing, and the count of writes to their own secrets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from agentworkspace.service.prepared import Prepared, array, columns
from provision_service.domain.billing import BillingMode
from provision_service.storage.encryption import Sealed
from provision_service.storage.models import TenantRow

# Built once: building a statement costs more than running it.
_ENSURE = insert(TenantRow).on_conflict_do_nothing()
_FIND = select(TenantRow.__table__).where(TenantRow.tenant_id == bindparam("tenant_id"))
_FIND_MANY = Prepared(
    "find_tenants",
    f"""
SELECT {columns(TenantRow.__table__)} FROM provision.tenants
WHERE tenant_id = ANY(%(tenant_ids)s::text[])
""",  # noqa: S608 - only names of columns are put in
)
_LOCK = _FIND.with_for_update(key_share=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFacts:
    """What a decision needs of the tenant; `usage_token` is its own, still sealed."""

    tenant_id: str
    default_billing: BillingMode | None
    usage_token: Sealed | None
    input_revision: int


def ensure(tx: Connection, tenant_id: str) -> None:
    """Make sure that there is a row for the tenant."""
    tx.execute(_ENSURE, {"tenant_id": tenant_id})


def find(tx: Connection, tenant_id: str, *, lock_it: bool = False) -> TenantFacts | None:
    """The tenant's facts; with `lock_it` nobody else changes them until the transaction ends."""
    row = tx.execute(_LOCK if lock_it else _FIND, {"tenant_id": tenant_id}).one_or_none()
    return None if row is None else tenant_facts(row, row.input_revision)


def find_many(tx: Connection, tenant_ids: Collection[str]) -> dict[str, TenantFacts]:
    """The facts of those that are known."""
    rows = _FIND_MANY.run(tx, {"tenant_ids": array(tenant_ids)})
    return {row.tenant_id: tenant_facts(row, row.input_revision) for row in rows}


def count_input(tx: Connection, tenant_id: str) -> None:
    """Count a write of a global secret. This is also the lock that such writes take first."""
    tx.execute(
        insert(TenantRow)
        .values(tenant_id=tenant_id, input_revision=1)
        .on_conflict_do_update(
            index_elements=[TenantRow.tenant_id],
            set_={"input_revision": TenantRow.input_revision + 1},
        )
    )


def change(tx: Connection, tenant_id: str, values: Mapping[str, Any]) -> None:
    """Set columns of a tenant."""
    tx.execute(update(TenantRow).where(TenantRow.tenant_id == tenant_id).values(**values))


def tenant_facts(row: Row[Any], input_revision: int) -> TenantFacts:
    """The facts in a row that has a tenant's columns."""
    token = None
    if row.usage_token_key_id is not None:
        token = Sealed(row.usage_token_ciphertext, row.usage_token_nonce, row.usage_token_key_id)
    return TenantFacts(
        tenant_id=row.tenant_id,
        default_billing=BillingMode(row.default_billing) if row.default_billing else None,
        usage_token=token,
        input_revision=input_revision,
    )
