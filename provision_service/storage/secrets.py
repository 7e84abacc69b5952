"""Stored secrets: sealed on the way in, opened in one pass on the way out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from agentworkspace.core.secret import Secret
from agentworkspace.service.prepared import Prepared, array, bytea_array
from provision_service.domain.records import SecretEntry
from provision_service.domain.scope import Scope
from provision_service.domain.secrets import MergedSecrets, StoredSecret, merge
from provision_service.storage.encryption import Sealed, secret_place
from provision_service.storage.keyring import Keyring
from provision_service.storage.models import SecretRow
from provision_service.storage.models_internal import PlatformCredentialRow
from provision_service.storage.store import Transaction

# Shorter values are equal by chance too often to be compared between tenants.
LONG_CHARACTERS: Final = 16
Key = TypeVar("Key", bound=Hashable)
_S = SecretRow
_IS_PLATFORMS = exists().where(PlatformCredentialRow.fingerprint == _S.fingerprint)
_OF_TENANT = select(
    _S.key,
    _S.workspace_id,
    _S.ciphertext,
    _S.nonce,
    _S.key_id,
    _S.fingerprint,
    _S.provider,
    _IS_PLATFORMS.label("comingled"),
).where(_S.tenant_id == bindparam("tenant_id"))
# Built once: building a statement costs more than running it.
_TENANTS_OWN = _OF_TENANT.where(_S.workspace_id.is_(None))
_MERGED = _OF_TENANT.where(
    or_(_S.workspace_id.is_(None), _S.workspace_id == bindparam("workspace_id"))
)
# Two branches, since each can use an index; one condition for both could use none.
_SEEN_BY_MANY: Final = Prepared(
    "seen_by_many",
    """
SELECT key, tenant_id, workspace_id::text, ciphertext, nonce, key_id, fingerprint,
    provider, EXISTS (
    SELECT FROM provision.platform_credentials AS p WHERE p.fingerprint = s.fingerprint
) AS comingled
FROM provision.secrets AS s WHERE tenant_id = ANY(%(tenants)s::text[]) AND workspace_id IS NULL
UNION ALL
SELECT key, tenant_id, workspace_id::text, ciphertext, nonce, key_id, fingerprint,
    provider, EXISTS (
    SELECT FROM provision.platform_credentials AS p WHERE p.fingerprint = s.fingerprint
) AS comingled
FROM provision.secrets AS s WHERE workspace_id = ANY(%(workspaces)s::uuid[])
""",
)
_COMINGLED: Final = Prepared(
    "comingled",
    """
SELECT fingerprint FROM provision.platform_credentials
WHERE fingerprint = ANY(%(fingerprints)s::bytea[])
""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretPlace:
    """Where a secret lies; `workspace_id` None is the tenant's own."""

    tenant_id: str
    workspace_id: str | None
    key: str


def read_merged(tx: Transaction, *, tenant_id: str, workspace_id: str | None) -> MergedSecrets:
    """What one workspace sees, decrypted: one query, one pass."""
    place = {"tenant_id": tenant_id}
    query = _TENANTS_OWN
    if workspace_id is not None:
        place["workspace_id"] = workspace_id
        query = _MERGED
    keyring = tx.vault.keyring
    rows: dict[Scope, list[StoredSecret]] = {Scope.GLOBAL: [], Scope.WORKSPACE: []}
    for row in tx.execute(query, place):
        opened = _opened(tx, keyring, tenant_id, row)
        rows[opened.scope].append(opened)
    return merge(rows[Scope.GLOBAL], rows[Scope.WORKSPACE])


def read_merged_of_many(tx: Transaction, workspaces: Mapping[str, str]) -> dict[str, MergedSecrets]:
    """What each workspace sees, decrypted, by its id. `workspaces` maps ids to their tenants'."""
    tenants = sorted(set(workspaces.values()))
    asked = {"tenants": array(tenants), "workspaces": array(workspaces)}
    keyring = tx.vault.keyring
    of_tenants: dict[str, list[StoredSecret]] = {tenant_id: [] for tenant_id in tenants}
    own: dict[str, list[StoredSecret]] = {workspace_id: [] for workspace_id in workspaces}
    for row in _SEEN_BY_MANY.run(tx, asked):
        opened = _opened(tx, keyring, row.tenant_id, row)
        if row.workspace_id is None:
            of_tenants[row.tenant_id].append(opened)
        elif workspaces[row.workspace_id] == row.tenant_id:
            own[row.workspace_id].append(opened)
    return {
        workspace_id: merge(of_tenants[tenant_id], own[workspace_id])
        for workspace_id, tenant_id in workspaces.items()
    }


def put(
    tx: Transaction,
    place: SecretPlace,
    value: Secret,
    *,
    updated_by: str,
    provider: str = "",
) -> SecretEntry:
    """Store a value, replacing the one at that place and whose it was said to be."""
    written = insert(SecretRow).values(
        columns(tx, place, value, provider) | {"updated_by": updated_by}
    )
    replaced = {
        name: getattr(written.excluded, name)
        for name in (
            "ciphertext",
            "nonce",
            "key_id",
            "fingerprint",
            "size_bytes",
            "is_long",
            "provider",
            "updated_by",
        )
    }
    is_global = place.workspace_id is None
    row = tx.execute(
        written.on_conflict_do_update(
            index_elements=[_S.tenant_id if is_global else _S.workspace_id, _S.key],
            index_where=_S.workspace_id.is_(None) if is_global else _S.workspace_id.is_not(None),
            set_={
                **replaced,
                "undecryptable_since": None,
                "update_time": func.clock_timestamp(),
            },
        ).returning(_S.create_time, _S.update_time)
    ).one()
    return SecretEntry(
        key=place.key,
        scope=Scope.GLOBAL if is_global else Scope.WORKSPACE,
        create_time=row.create_time,
        update_time=row.update_time,
        provider=provider,
    )


def assign(
    tx: Transaction, place: SecretPlace, provider: str, *, updated_by: str
) -> SecretEntry | None:
    """Say whose credential a workspace's own secret is; None when there is none."""
    said = (
        update(SecretRow)
        .where(
            _S.tenant_id == place.tenant_id,
            _S.workspace_id == place.workspace_id,
            _S.key == place.key,
        )
        .values(
            provider=provider or None,
            updated_by=updated_by,
            update_time=func.clock_timestamp(),
        )
        .returning(_S.create_time, _S.update_time)
    )
    row = tx.execute(said).one_or_none()
    if row is None:
        return None
    return SecretEntry(
        key=place.key,
        scope=Scope.WORKSPACE,
        create_time=row.create_time,
        update_time=row.update_time,
        provider=provider,
    )


def remove(tx: Transaction, place: SecretPlace) -> bool:
    """Delete the value at a place; False when there was none."""
    at = (
        _S.workspace_id.is_(None)
        if place.workspace_id is None
        else (_S.workspace_id == place.workspace_id)
    )
    gone = tx.execute(
        delete(SecretRow).where(_S.tenant_id == place.tenant_id, at, _S.key == place.key)
    )
    return gone.rowcount > 0


def remove_all(tx: Connection, workspace_id: str) -> int:
    """Forget every secret of a workspace."""
    return tx.execute(delete(SecretRow).where(_S.workspace_id == workspace_id)).rowcount


def comingled_keys(tx: Transaction, secrets: Mapping[Key, Secret]) -> frozenset[Key]:
    """Which of these values, given by key, equal a platform credential."""
    if not secrets:
        return frozenset()
    by_fingerprint: dict[bytes, list[Key]] = {}
    for key, value in secrets.items():
        by_fingerprint.setdefault(tx.fingerprints.of(value), []).append(key)
    rows = _COMINGLED.run(tx, {"fingerprints": bytea_array(by_fingerprint)})
    found = {bytes(row.fingerprint) for row in rows}
    return frozenset(key for one in found for key in by_fingerprint[one])


def page(
    tx: Connection,
    *,
    tenant_id: str,
    workspace_id: str | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[SecretEntry]:
    """The merged view without values, by update time, newest first."""
    hidden = aliased(SecretRow)
    overrides = exists().where(
        hidden.tenant_id == tenant_id, hidden.workspace_id.is_(None), hidden.key == _S.key
    )
    query = select(
        _S.key,
        _S.workspace_id,
        _S.create_time,
        _S.update_time,
        _S.provider,
        overrides.label("overrides"),
    ).where(_S.tenant_id == tenant_id, reaches(workspace_id))
    if workspace_id is not None:
        own = aliased(SecretRow)
        is_hidden = exists().where(own.workspace_id == workspace_id, own.key == _S.key)
        query = query.where(or_(_S.workspace_id.is_not(None), ~is_hidden))
    if after is not None:
        when, key = after
        query = query.where(or_(_S.update_time < when, and_(_S.update_time == when, _S.key > key)))
    rows = tx.execute(query.order_by(_S.update_time.desc(), _S.key).limit(limit))
    return [
        SecretEntry(
            key=row.key,
            scope=Scope.GLOBAL if row.workspace_id is None else Scope.WORKSPACE,
            create_time=row.create_time,
            update_time=row.update_time,
            overrides_global=row.workspace_id is not None and row.overrides,
            provider=row.provider or "",
        )
        for row in rows
    ]


def reaches(workspace_id: str | None) -> Any:
    """The condition of being seen by a workspace; None sees the tenant's own only."""
    if workspace_id is None:
        return _S.workspace_id.is_(None)
    return or_(_S.workspace_id.is_(None), _S.workspace_id == workspace_id)


def _opened(tx: Transaction, keyring: Keyring, tenant_id: str, row: Any) -> StoredSecret:
    scope = Scope.GLOBAL if row.workspace_id is None else Scope.WORKSPACE
    value = tx.opened(
        secret_place(tenant_id, row.workspace_id, row.key),
        Sealed(row.ciphertext, row.nonce, row.key_id),
        row.fingerprint,
        keyring=keyring,
    )
    return StoredSecret(row.key, scope, value, row.comingled, row.provider or "")


def columns(
    tx: Transaction, place: SecretPlace, value: Secret, provider: str | None
) -> dict[str, Any]:
    """The columns of a value, encrypted for its place; all but `updated_by`."""
    text = value.reveal()
    encoded = text.encode("utf-8")
    sealed = tx.vault.seal(secret_place(place.tenant_id, place.workspace_id, place.key), encoded)
    return {
        "tenant_id": place.tenant_id,
        "workspace_id": place.workspace_id,
        "key": place.key,
        "ciphertext": sealed.ciphertext,
        "nonce": sealed.nonce,
        "key_id": sealed.key_id,
        "fingerprint": tx.fingerprints.of(value),
        "size_bytes": len(place.key) + len(encoded),
        "is_long": len(text) >= LONG_CHARACTERS,
        "provider": provider or None,
    }
