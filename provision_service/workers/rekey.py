"""Worker step: re-encrypt a batch of rows that are not under the current key yet."""

from __future__ import annotations

from dataclasses import dataclass

from provision_service.commands.call import SYSTEM, record
from provision_service.storage import rekeying
from provision_service.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekey:
    """Moves at most `limit` rows of each kind."""

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
        rewritten = (
            rekeying.rekey_fingerprint_key(tx, keyring)
            + rekeying.rekey_usage_tokens(tx, keyring, command.limit)
            + rekeying.rekey_secrets(tx, keyring, command.limit)
        )
        if rewritten:
            by_key = sorted(rewritten.items())
            details = {
                "from": " ".join(key_id for key_id, _ in by_key),
                "to": keyring.current,
                "rows": " ".join(str(rows) for _, rows in by_key),
            }
            record(tx, SYSTEM, "secret.rekey", details=details)
        remaining, undecryptable = rekeying.remaining(tx, keyring)
    return RekeyResult(
        key_id=keyring.current,
        rewritten=rewritten.total(),
        remaining=remaining,
        undecryptable=undecryptable,
    )
