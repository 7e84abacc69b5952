"""What must hold before the store is used: every key is the right one, and there is one
fingerprint key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

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
from provision_service.storage import key_holders
from provision_service.storage.encryption import FINGERPRINT_KEY, Fingerprints, Sealed, Vault
from provision_service.storage.key_agreement import AgreedKeys, Agreement
from provision_service.storage.key_holders import Replica
from provision_service.storage.models import SecretRow, TenantRow
from provision_service.storage.models_internal import EncryptionKeyRow, FingerprintKeyRow
from provision_service.storage.store import Store


class WrongKey(Exception):
    """The service must not start: a key is wrong or missing. Names the key id."""


def open_store(database: Database, keys: AgreedKeys, random_bytes: Callable[[int], bytes]) -> Store:
    """The store on a migrated database, with this replica among those that report their keys.

    Raises WrongKey.
    """
    vault = Vault(keys.current, random_bytes)
    with database.engine.begin() as tx:
        agreement = keys.agree(tx, vault)
        for problem in start_problems(tx, agreement):
            raise WrongKey(problem)
        _forget_canaries(tx, agreement)
        fingerprint_key = _fingerprint_key(tx, vault, agreement)
    keys.take_over(agreement)
    return Store(database, vault, Fingerprints(fingerprint_key))


def start_problems(tx: Connection, agreement: Agreement) -> Iterator[str]:
    """What keeps a replica with this keys file from starting, a sentence for each key."""
    yield from agreement.wrong_keys()
    held = agreement.file.key_ids
    for key_id in sorted(_used_key_ids(tx) - held):
        yield f"encryption key `{key_id}` is missing from the keys file, and secrets need it"
    for holder in agreement.holders:
        if holder.writes_with and holder.writes_with not in held:
            yield (
                f"encryption key `{holder.writes_with}` is missing from the keys file, and"
                f" {holder.name} writes with it; put it in"
            )


def still_needed(
    tx: Connection, key_ids: frozenset[str], replica: Replica | None = None
) -> frozenset[str]:
    """Those of these keys that a row is under, or that another replica than this writes with."""
    columns = (SecretRow.key_id, TenantRow.usage_token_key_id, FingerprintKeyRow.key_id)
    under = {
        key_id
        for key_id in key_ids
        if tx.execute(select(or_(*(exists().where(each == key_id) for each in columns)))).scalar()
    }
    writing = {holder.writes_with for holder in key_holders.others(tx, replica)}
    return key_ids & (under | writing)


def _used_key_ids(tx: Connection) -> set[str]:
    used: CompoundSelect[Any] = union_all(
        select(SecretRow.key_id).distinct(),
        select(TenantRow.usage_token_key_id).where(TenantRow.usage_token_key_id.is_not(None)),
        select(FingerprintKeyRow.key_id),
    )
    return set(tx.scalars(used))


def _forget_canaries(tx: Connection, agreement: Agreement) -> None:
    """A key that left every file is forgotten; no row is under it any more."""
    kept = sorted(agreement.file.key_ids.union(*(each.key_ids for each in agreement.holders)))
    tx.execute(delete(EncryptionKeyRow).where(EncryptionKeyRow.key_id.not_in(kept)))


def _fingerprint_key(tx: Connection, vault: Vault, agreement: Agreement) -> bytes:
    keyring = agreement.keyring
    row = tx.execute(select(FingerprintKeyRow.__table__)).one_or_none()
    if row is None:
        sealed = vault.seal_under(keyring, keyring.current, FINGERPRINT_KEY, vault.random_key())
        tx.execute(
            insert(FingerprintKeyRow)
            .values(ciphertext=sealed.ciphertext, nonce=sealed.nonce, key_id=sealed.key_id)
            .on_conflict_do_nothing()
        )
        row = tx.execute(select(FingerprintKeyRow.__table__)).one()
    sealed = Sealed(row.ciphertext, row.nonce, row.key_id)
    key = vault.open(FINGERPRINT_KEY, sealed, keyring=keyring)
    if key is None:
        raise WrongKey(f"encryption key `{row.key_id}` does not open the fingerprint key")
    return key
