"""Provisioning's database, seen as transactions that can open and seal what lies in it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from hmac import compare_digest
from typing import Final

from sqlalchemy import Connection, Engine

from agentworkspace.core.secret import Secret
from agentworkspace.service.database import Database, Limits
from agentworkspace.service.store import Store as AnyStore
from provision_service.storage.encryption import Fingerprints, Place, Sealed, Vault
from provision_service.storage.keyring import Keyring

LIMITS: Final = Limits(statement=timedelta(seconds=30), lock=timedelta(seconds=30))


class Transaction(Connection):
    """A transaction that can seal, open and fingerprint what lies in the database."""

    def __init__(self, engine: Engine, *, vault: Vault, fingerprints: Fingerprints) -> None:
        super().__init__(engine)
        self.vault = vault
        self.fingerprints = fingerprints

    def opened(
        self, place: Place, sealed: Sealed, fingerprint: bytes, *, keyring: Keyring | None = None
    ) -> Secret | None:
        """The value that was written last at this place, or None.

        `fingerprint` is the row's: that of the value that was written last. An older ciphertext,
        put back into its row, opens, but does not fit it.
        """
        value = self.vault.open_text(place, sealed, keyring=keyring)
        if value is None or not compare_digest(self.fingerprints.of(value), fingerprint):
            return None
        return value


class Store(AnyStore[Transaction]):
    """Transactions of one deployment. Each `reading` sees one snapshot: a decision is made of
    many reads.
    """

    def __init__(self, database: Database, vault: Vault, fingerprints: Fingerprints) -> None:
        connect = partial(Transaction, vault=vault, fingerprints=fingerprints)
        super().__init__(database, connect, snapshot=True)
        self.vault = vault
        self.fingerprints = fingerprints


def database(url: Secret, *, pool_size: int, pooled: bool = False) -> Database:
    """The service's database; it connects when first used. ValueError when the URL is malformed."""
    return Database(
        url, name="provision-service", pool_size=pool_size, pooled=pooled, limits=LIMITS
    )
