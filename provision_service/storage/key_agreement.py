"""The keys that this replica opens with, and the one that all replicas let it write with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from provision_service.storage import key_holders
from provision_service.storage.encryption import Place, Sealed, Vault
from provision_service.storage.key_holders import Holder, Replica
from provision_service.storage.keyring import Keyring
from provision_service.storage.models_internal import EncryptionKeyRow

_CANARY: Final = b"agentworkspace provision canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What one look at all replicas found. `file` is the keyring of the file that was looked at,
    `keyring` the part of it that is in force. `wrong` are ids under which the database knows
    another key than the file.
    """

    file: Keyring
    keyring: Keyring
    holders: tuple[Holder, ...]
    wrong: frozenset[str]

    @property
    def wants(self) -> str:
        """The key that the file calls current."""
        return self.file.current

    @property
    def lacking(self) -> tuple[str, ...]:
        """The names of the replicas that cannot open what is written with that key."""
        return tuple(each.name for each in self.holders if self.wants not in each.key_ids)

    def wrong_keys(self) -> Iterator[str]:
        """A sentence for each of the wrong ones."""
        for key_id in sorted(self.wrong):
            yield (
                f"encryption key `{key_id}` is not the one that values were encrypted with under"
                " this name; restore the keys file, or give a new key a new id"
            )

    @property
    def settled(self) -> bool:
        """Whether every replica holds that key and calls it current, too: rows may be moved to it,
        and no replica moves them back.
        """
        return all(each.wants == self.wants and self.wants in each.key_ids for each in self.holders)


class AgreedKeys:
    """The keyring in force: the keys of the file, once the database was asked about them.

    A key is written with when every live replica has reported that it holds it; until then an
    older one is. `replica` None reports nothing, for a command that only looks.
    """

    def __init__(self, file: Callable[[], Keyring], replica: Replica | None = None) -> None:
        self._file = file
        self.replica = replica
        self._agreement: Agreement | None = None

    @property
    def is_up_to_date(self) -> bool:
        """Whether the last agreement was about the file as it is now."""
        return self._agreement is not None and self._agreement.file is self._file()

    @property
    def agreement(self) -> Agreement:
        """The last one; RuntimeError before the first."""
        if self._agreement is None:
            raise RuntimeError("no agreement about the keys was made yet")
        return self._agreement

    def current(self) -> Keyring:
        """The keyring in force."""
        return self.agreement.keyring

    def agree(self, tx: Connection, vault: Vault) -> Agreement:
        """Try each key on its canary, a known text that was encrypted under it; write canaries of
        new keys; report what this replica holds, and read what the others hold.

        The result is in force only after `take_over`, once the transaction was committed.
        """
        file = self._file()
        key_holders.lock(tx)
        canaries = _canaries(tx, vault, file)
        wrong = frozenset(
            key_id for key_id in file.key_ids if not _opens(vault, file, canaries[key_id])
        )
        usable = {key_id: canaries[key_id].create_time for key_id in file.key_ids - wrong}
        rest = key_holders.others(tx, self.replica)
        writes_with = key_holders.key_to_write_with(file.current, usable, rest)
        holders = tuple(rest)
        if self.replica is not None:
            own = Holder(
                name=self.replica.name,
                key_ids=frozenset(usable),
                wants=file.current,
                writes_with=writes_with,
            )
            key_holders.report(tx, self.replica, own)
            holders = (*rest, own)
        keyring = file.narrowed(writes_with, usable)
        return Agreement(file=file, keyring=keyring, holders=holders, wrong=wrong)

    def take_over(self, agreement: Agreement) -> None:
        """From now on this is in force."""
        self._agreement = agreement


def _canaries(tx: Connection, vault: Vault, file: Keyring) -> dict[str, Any]:
    """The rows of all keys, by id; a key that is new gets its own."""
    rows = _rows(tx)
    new = sorted(file.key_ids - rows.keys())
    for key_id in new:
        sealed = vault.seal_under(file, key_id, _place(key_id), _CANARY)
        values = {"ciphertext": sealed.ciphertext, "nonce": sealed.nonce}
        written = insert(EncryptionKeyRow).values(key_id=key_id, **values)
        tx.execute(written.on_conflict_do_nothing())
    return _rows(tx) if new else rows


def _rows(tx: Connection) -> dict[str, Any]:
    return {row.key_id: row for row in tx.execute(select(EncryptionKeyRow.__table__))}


def _opens(vault: Vault, file: Keyring, row: Any) -> bool:
    sealed = Sealed(row.ciphertext, row.nonce, row.key_id)
    return vault.open(_place(row.key_id), sealed, keyring=file) == _CANARY


def _place(key_id: str) -> Place:
    return Place(kind="canary", key=key_id)
