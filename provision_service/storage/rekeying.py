"""Moving rows to the current key, in small batches that can stop anywhere."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, func, or_, select, update

from agentworkspace.core.secret import Secret
from provision_service.storage import platform_credentials
from provision_service.storage.encryption import (
    FINGERPRINT_KEY,
    Place,
    Sealed,
    secret_place,
    usage_token_place,
)
from provision_service.storage.keyring import Keyring
from provision_service.storage.models import SecretRow, TenantRow
from provision_service.storage.models_internal import FingerprintKeyRow
from provision_service.storage.store import Transaction

_S = SecretRow
_T = TenantRow
_F = FingerprintKeyRow


def rekey_secrets(tx: Transaction, keyring: Keyring, limit: int) -> Counter[str]:
    """Re-encrypt up to `limit` secrets that are under another key; what does not open is marked and
    left.

    Returns how many were looked at, by their old key. The other functions count what they moved.
    """
    query = (
        select(
            _S.secret_id,
            _S.tenant_id,
            _S.workspace_id,
            _S.key,
            _S.ciphertext,
            _S.nonce,
            _S.key_id,
            _S.fingerprint,
        )
        .where(
            _S.key_id != keyring.current,
            _S.key_id.in_(sorted(keyring.key_ids)),
            _S.undecryptable_since.is_(None),
        )
        .order_by(_S.secret_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    for row in (rows := tx.execute(query).all()):
        place = secret_place(row.tenant_id, row.workspace_id, row.key)
        old = Sealed(row.ciphertext, row.nonce, row.key_id)
        value = tx.opened(place, old, row.fingerprint, keyring=keyring)
        this = update(SecretRow).where(_S.secret_id == row.secret_id)
        if value is None:
            tx.execute(this.values(undecryptable_since=func.clock_timestamp()))
            continue
        sealed = _sealed(tx, keyring, place, value)
        tx.execute(
            this.values(ciphertext=sealed.ciphertext, nonce=sealed.nonce, key_id=sealed.key_id)
        )
    return Counter(row.key_id for row in rows)


def rekey_usage_tokens(tx: Transaction, keyring: Keyring, limit: int) -> Counter[str]:
    """Re-encrypt usage tokens of tenants; one that does not open stays as it is."""
    query = (
        select(_T.__table__)
        .where(
            _T.usage_token_key_id != keyring.current,
            _T.usage_token_key_id.in_(sorted(keyring.key_ids)),
        )
        .order_by(_T.tenant_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rewritten = Counter[str]()
    for row in tx.execute(query).all():
        old = Sealed(row.usage_token_ciphertext, row.usage_token_nonce, row.usage_token_key_id)
        value = platform_credentials.opened_usage_token(tx, row.tenant_id, old, keyring=keyring)
        if value is None:
            continue
        sealed = _sealed(tx, keyring, usage_token_place(row.tenant_id), value)
        tx.execute(
            update(TenantRow)
            .where(_T.tenant_id == row.tenant_id)
            .values(
                usage_token_ciphertext=sealed.ciphertext,
                usage_token_nonce=sealed.nonce,
                usage_token_key_id=sealed.key_id,
            )
        )
        rewritten[row.usage_token_key_id] += 1
    return rewritten


def rekey_fingerprint_key(tx: Transaction, keyring: Keyring) -> Counter[str]:
    """Re-wrap the fingerprint key; the key itself stays, or every fingerprint would change."""
    query = select(_F.__table__).where(_F.key_id != keyring.current)
    row = tx.execute(query.with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return Counter()
    value = tx.vault.open(
        FINGERPRINT_KEY, Sealed(row.ciphertext, row.nonce, row.key_id), keyring=keyring
    )
    if value is None:
        return Counter()
    sealed = tx.vault.seal_under(keyring, keyring.current, FINGERPRINT_KEY, value)
    tx.execute(
        update(FingerprintKeyRow).values(
            ciphertext=sealed.ciphertext, nonce=sealed.nonce, key_id=sealed.key_id
        )
    )
    return Counter({row.key_id: 1})


def remaining(tx: Connection, keyring: Keyring) -> tuple[int, int]:
    """How many rows are still under another key, and how many secrets among them no key of the
    keyring opens: damaged ones, and those whose key has left the file.
    """
    current = keyring.current
    no_key_opens = or_(
        _S.undecryptable_since.is_not(None), _S.key_id.not_in(sorted(keyring.key_ids))
    )
    secrets = tx.execute(
        select(
            func.count().label("every"),
            func.count().filter(no_key_opens).label("undecryptable"),
        ).where(_S.key_id != current)
    ).one()
    tokens = tx.execute(
        select(func.count()).select_from(_T.__table__).where(_T.usage_token_key_id != current)
    ).scalar_one()
    wrapped = tx.execute(
        select(func.count()).select_from(_F.__table__).where(_F.key_id != current)
    ).scalar_one()
    return secrets.every + tokens + wrapped, secrets.undecryptable


def _sealed(tx: Transaction, keyring: Keyring, place: Place, value: Secret) -> Sealed:
    return tx.vault.seal_under(keyring, keyring.current, place, value.reveal().encode("utf-8"))
