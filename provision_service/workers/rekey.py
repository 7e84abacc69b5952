"""Worker step: re-encrypt a batch of rows that are not under the current key yet."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.storage import rekey_rows
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekey:
    """At most `limit` rows of each kind."""

    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RekeyResult:
    """`remaining` rows are still under another key; `undecryptable` of them open with no key
    that the file names now.
    """

    key_id: str
    rewritten: int
    remaining: int
    undecryptable: int


def run(store: Store, command: Rekey) -> RekeyResult:
    """Re-encrypt; safe to interrupt and to run in several replicas at once."""
    keyring = store.vault.keyring
    with store.transaction() as tx:
        rekey_rows.ensure_canary(tx, keyring)
        rewritten = (
            rekey_rows.rekey_fingerprint_key(tx, keyring)
            + rekey_rows.rekey_usage_tokens(tx, keyring, command.limit)
            + rekey_rows.rekey_secrets(tx, keyring, command.limit)
        )
        remaining, undecryptable = rekey_rows.remaining(tx, keyring)
    return RekeyResult(
        key_id=keyring.current,
        rewritten=rewritten,
        remaining=remaining,
        undecryptable=undecryptable,
    )
