"""Platform credentials, and where tenants hold values that they should not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    true,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from agentworkspace.core.secret import Secret
from provision_service.domain.records import (
    PlatformCredential,
    PlatformCredentialOrigin,
    SecretHolder,
)
from provision_service.domain.scope import Scope
from provision_service.storage.encryption import Sealed, shown, usage_token_place
from provision_service.storage.keyring import Keyring
from provision_service.storage.models import SecretRow, WorkspaceRow
from provision_service.storage.models_internal import PlatformCredentialRow
from provision_service.storage.store import Transaction

REGISTERED: Final = PlatformCredentialOrigin.REGISTERED.value
USAGE_TOKEN: Final = PlatformCredentialOrigin.USAGE_TOKEN.value
USAGE_TOKEN_PREFIX: Final = "usage-token/"
DEPLOYMENT_TOKEN: Final = f"{USAGE_TOKEN_PREFIX}deployment"
_TENANT_TOKEN: Final = f"{USAGE_TOKEN_PREFIX}tenant/"

_P = PlatformCredentialRow
_S = SecretRow
_SERVED_BY = select(_P.tenant_id).where(
    _P.fingerprint == bindparam("fingerprint"), _P.source == USAGE_TOKEN
)


def tenant_token_name(tenant_id: str) -> str:
    """The name under which a tenant's usage token is registered."""
    return f"{_TENANT_TOKEN}{tenant_id}"


def register(tx: Connection, *, name: str, fingerprint: bytes) -> None:
    """Register a value under a name; the same again changes nothing, another one is added.

    The row is locked either way: nobody unregisters it before the transaction ends.
    """
    written = insert(PlatformCredentialRow).values(
        name=name, fingerprint=fingerprint, source=REGISTERED
    )
    tx.execute(
        written.on_conflict_do_update(
            index_elements=[_P.name, _P.fingerprint], set_={"name": written.excluded.name}
        )
    )


def find(tx: Connection, *, name: str, fingerprint: bytes) -> PlatformCredential | None:
    """One registered value."""
    query = select(_P.__table__).where(_P.name == name, _P.fingerprint == fingerprint)
    row = tx.execute(query).one_or_none()
    return None if row is None else _credential(row)


def unregister(tx: Connection, *, name: str) -> int:
    """Forget every value registered under a name; usage tokens stay."""
    gone = tx.execute(delete(PlatformCredentialRow).where(_P.name == name, _P.source == REGISTERED))
    return gone.rowcount


def page(
    tx: Connection, *, after: tuple[datetime, str, bytes] | None, limit: int
) -> list[tuple[PlatformCredential, bytes]]:
    """Credentials with their whole fingerprint, newest first."""
    query = select(_P.__table__)
    order = (_P.create_time, _P.name, _P.fingerprint)
    if after is not None:
        query = query.where(tuple_(*order) < tuple_(*after))
    rows = tx.execute(query.order_by(*(column.desc() for column in order)).limit(limit))
    return [(_credential(row), bytes(row.fingerprint)) for row in rows]


def set_usage_token(
    tx: Connection, *, name: str, fingerprint: bytes | None, tenant_id: str | None
) -> tuple[list[bytes], bool]:
    """Register a usage token under a name in place of any other; `fingerprint` None only forgets.

    Returns the fingerprints that were forgotten, and whether this one is new under the name.
    """
    earlier = _P.fingerprint != fingerprint if fingerprint is not None else true()
    ended = delete(PlatformCredentialRow).where(_P.name == name, earlier).returning(_P.fingerprint)
    gone = [bytes(each) for each in tx.scalars(ended)]
    if fingerprint is None:
        return gone, False
    added = tx.execute(
        insert(PlatformCredentialRow)
        .values(name=name, fingerprint=fingerprint, source=USAGE_TOKEN, tenant_id=tenant_id)
        .on_conflict_do_nothing()
    )
    return gone, added.rowcount > 0


def opened_usage_token(
    tx: Transaction, tenant_id: str, sealed: Sealed, *, keyring: Keyring | None = None
) -> Secret | None:
    """The usage token of a tenant, or None: not readable, or not the one that was set last."""
    query = select(_P.fingerprint).where(
        _P.name == tenant_token_name(tenant_id), _P.source == USAGE_TOKEN
    )
    fingerprint = tx.execute(query).scalar()
    place = usage_token_place(tenant_id)
    return tx.opened(place, sealed, fingerprint or b"", keyring=keyring)


def lock_usage_token(tx: Connection, *, fingerprint: bytes) -> None:
    """Let nobody else give this token to a tenant until the transaction ends: whom it serves is
    read first and written afterwards, and the second of two at once must see the first.
    """
    key = int.from_bytes(fingerprint[:8], "big", signed=True)
    tx.execute(select(func.pg_advisory_xact_lock(key)))


def tenants_served_by(tx: Connection, *, fingerprint: bytes) -> set[str]:
    """The tenants that a usage token serves already."""
    served = tx.scalars(_SERVED_BY, {"fingerprint": fingerprint})
    return {tenant_id for tenant_id in served if tenant_id is not None}


def bind_deployment_token(tx: Connection, *, fingerprint: bytes, tenant_id: str) -> bool:
    """Give the deployment's usage token to a tenant; False when another one has it."""
    written = insert(PlatformCredentialRow).values(
        name=DEPLOYMENT_TOKEN, fingerprint=fingerprint, source=USAGE_TOKEN, tenant_id=tenant_id
    )
    bound = tx.execute(
        written.on_conflict_do_update(
            index_elements=[_P.name, _P.fingerprint],
            set_={"tenant_id": tenant_id},
            where=or_(_P.tenant_id.is_(None), _P.tenant_id == tenant_id),
        ).returning(_P.tenant_id)
    )
    return bound.one_or_none() is not None


def release_deployment_token(tx: Connection, *, tenant_id: str) -> None:
    """A tenant with a token of its own leaves the deployment's to another."""
    tx.execute(
        update(PlatformCredentialRow)
        .where(_P.name == DEPLOYMENT_TOKEN, _P.tenant_id == tenant_id)
        .values(tenant_id=None)
    )


def holders_of(tx: Connection, fingerprint: bytes) -> list[tuple[bytes, SecretHolder]]:
    """Everywhere a tenant holds this value."""
    return _holders(tx, _S.fingerprint == fingerprint)


def shared_holders(tx: Connection, names: Sequence[str]) -> list[tuple[bytes, SecretHolder]]:
    """Holders of long values under `names` that several tenants have, and of every value
    that is the platform's own.
    """
    compared = and_(_S.is_long, _S.key == func.any(list(names)))
    across = (
        select(_S.fingerprint)
        .where(compared)
        .group_by(_S.fingerprint)
        .having(func.count(_S.tenant_id.distinct()) > 1)
    )
    platforms = select(_S.fingerprint).join(_P, _P.fingerprint == _S.fingerprint)
    wanted = union(across, platforms).subquery()
    is_platforms = _S.fingerprint.in_(select(_P.fingerprint))
    return _holders(
        tx,
        and_(_S.fingerprint.in_(select(wanted.c.fingerprint)), or_(compared, is_platforms)),
    )


def names_by_fingerprint(
    tx: Connection, fingerprints: Sequence[bytes]
) -> dict[bytes, tuple[str, ...]]:
    """Names of the platform credentials among these fingerprints."""
    if not fingerprints:
        return {}
    query = select(_P.fingerprint, _P.name).where(_P.fingerprint.in_(list(fingerprints)))
    found: dict[bytes, tuple[str, ...]] = {}
    for row in tx.execute(query.order_by(_P.name)):
        fingerprint = bytes(row.fingerprint)
        found[fingerprint] = (*found.get(fingerprint, ()), row.name)
    return found


def count_compared(tx: Connection, names: Sequence[str]) -> int:
    """How many values the audit compares across tenants."""
    query = select(func.count()).where(_S.is_long, _S.key == func.any(list(names)))
    return int(tx.execute(query).scalar_one())


def _holders(tx: Connection, condition: Any) -> list[tuple[bytes, SecretHolder]]:
    query = (
        select(_S.fingerprint, _S.tenant_id, _S.workspace_id, _S.key)
        .where(condition)
        .order_by(_S.fingerprint, _S.tenant_id, _S.workspace_id.nulls_first(), _S.key)
    )
    rows: list[Row[Any]] = list(tx.execute(query))
    exposed = _exposed_by_global(tx, [row for row in rows if row.workspace_id is None])
    return [(bytes(row.fingerprint), _holder(row, exposed)) for row in rows]


def _exposed_by_global(
    tx: Connection, rows: Sequence[Row[Any]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Workspaces that see each (tenant, key) of a global secret: not removed, no own value."""
    if not rows:
        return {}
    places = sorted({(row.tenant_id, row.key) for row in rows})
    wanted = (
        select(
            func.unnest([tenant for tenant, _ in places]).label("tenant_id"),
            func.unnest([key for _, key in places]).label("key"),
        )
    ).subquery()
    hidden = (
        select(_S.secret_id)
        .where(_S.workspace_id == WorkspaceRow.workspace_id, _S.key == wanted.c.key)
        .exists()
    )
    query = (
        select(
            wanted.c.tenant_id,
            wanted.c.key,
            func.array_agg(WorkspaceRow.workspace_id).label("workspace_ids"),
        )
        .join(WorkspaceRow, WorkspaceRow.tenant_id == wanted.c.tenant_id)
        .where(WorkspaceRow.remove_time.is_(None), ~hidden)
        .group_by(wanted.c.tenant_id, wanted.c.key)
    )
    return {
        (row.tenant_id, row.key): tuple(sorted(str(one) for one in row.workspace_ids))
        for row in tx.execute(query)
    }


def _holder(row: Row[Any], exposed: dict[tuple[str, str], tuple[str, ...]]) -> SecretHolder:
    if row.workspace_id is None:
        reached = exposed.get((row.tenant_id, row.key), ())
        scope = Scope.GLOBAL
    else:
        reached, scope = (row.workspace_id,), Scope.WORKSPACE
    return SecretHolder(
        tenant_id=row.tenant_id,
        scope=scope,
        workspace_id=row.workspace_id or "",
        key=row.key,
        exposed_workspace_ids=reached,
    )


def _credential(row: Row[Any]) -> PlatformCredential:
    return PlatformCredential(
        name=row.name,
        fingerprint=shown(bytes(row.fingerprint)),
        source=row.source,
        create_time=row.create_time,
    )
