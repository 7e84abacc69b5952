"""What must hold before the store is used: every key is the right one, and there is one
fingerprint key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import (
    CompoundSelect,
    Connection,
    delete,
    exists,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert

from agentworkspace.service.database import Database
from provision_service.storage.encryption import (
    FINGERPRINT_KEY,
    Fingerprints,
    Place,
    Sealed,
    Vault,
)
from provision_service.storage.keyring import Keyring
from provision_service.storage.models import SecretRow, TenantRow
from provision_service.storage.models_internal import EncryptionKeyRow, FingerprintKeyRow
from provision_service.storage.store import Store

_CANARY: Final = b"agentworkspace provision canary"


class WrongKey(Exception):
    """The service must not start: a key is wrong or missing. Names the key id."""

    def __init__(self, key_id: str, problem: str) -> None:
        super().__init__(f"encryption key `{key_id}` {problem}")
        self.key_id = key_id


def open_store(
    database: Database,
    keyring: Callable[[], Keyring],
    random_bytes: Callable[[int], bytes],
) -> Store:
    """The store on a migrated database. Raises WrongKey."""
    vault = Vault(keyring, random_bytes)
    with database.engine.begin() as tx:
        verify_keys(tx, vault)
        fingerprint_key = _fingerprint_key(tx, vault)
    return Store(database, vault, Fingerprints(fingerprint_key))


def verify_keys(tx: Connection, vault: Vault) -> None:
    """Try the canary of every key that is known or in use; give new keys their canary.

    A key that left the file is forgotten once no row is under it any more.
    """
    keyring = vault.keyring
    known = {row.key_id: row for row in tx.execute(select(EncryptionKeyRow.__table__))}
    for key_id, row in known.items():
        if key_id not in keyring.key_ids:
            continue
        sealed = Sealed(row.ciphertext, row.nonce, key_id)
        if vault.open(_canary_place(key_id), sealed, keyring=keyring) != _CANARY:
            raise WrongKey(key_id, "is not the one that the stored secrets were encrypted with")
    missing = (set(known) | _used_key_ids(tx)) - keyring.key_ids
    for key_id in sorted(missing):
        if key_id in _used_key_ids(tx):
            raise WrongKey(key_id, "is missing from the keys file, and secrets need it")
        tx.execute(delete(EncryptionKeyRow).where(EncryptionKeyRow.key_id == key_id))
    for key_id in sorted(keyring.key_ids - set(known)):
        add_canary(tx, vault, keyring, key_id)


def add_canary(tx: Connection, vault: Vault, keyring: Keyring, key_id: str) -> None:
    """Store a canary under a key that has none yet."""
    sealed = vault.seal_under(keyring, key_id, _canary_place(key_id), _CANARY)
    tx.execute(
        insert(EncryptionKeyRow)
        .values(key_id=key_id, ciphertext=sealed.ciphertext, nonce=sealed.nonce)
        .on_conflict_do_nothing()
    )


def _canary_place(key_id: str) -> Place:
    return Place(kind="canary", key=key_id)


def _used_key_ids(tx: Connection) -> set[str]:
    used: CompoundSelect[Any] = union_all(
        select(SecretRow.key_id).distinct(),
        select(TenantRow.usage_token_key_id).where(TenantRow.usage_token_key_id.is_not(None)),
        select(FingerprintKeyRow.key_id),
    )
    return set(tx.scalars(used))


def still_needed(tx: Connection, key_ids: frozenset[str]) -> frozenset[str]:
    """Which of these keys some row is under."""
    columns = (SecretRow.key_id, TenantRow.usage_token_key_id, FingerprintKeyRow.key_id)
    return frozenset(
        key_id
        for key_id in key_ids
        if tx.execute(select(or_(*(exists().where(each == key_id) for each in columns)))).scalar()
    )


def _fingerprint_key(tx: Connection, vault: Vault) -> bytes:
    sealed = vault.seal(FINGERPRINT_KEY, vault.random_key())
    tx.execute(
        insert(FingerprintKeyRow)
        .values(ciphertext=sealed.ciphertext, nonce=sealed.nonce, key_id=sealed.key_id)
        .on_conflict_do_nothing()
    )
    row = tx.execute(select(FingerprintKeyRow.__table__)).one()
    key = vault.open(FINGERPRINT_KEY, Sealed(row.ciphertext, row.nonce, row.key_id))
    if key is None:
        raise WrongKey(row.key_id, "does not open the fingerprint key")
    return key
