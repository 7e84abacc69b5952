"""The audit of either service on a real database: rows to seal, seals, and hands that tamper."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sqlalchemy import Connection, Engine, create_engine, text

from agentworkspace.core.audit import Change
from agentworkspace.service.audit import events, sealing, seals, verifying
from agentworkspace.service.audit.comparing import Changed
from agentworkspace.service.audit.keys import NO_KEYS, AuditKeys, key_id_of
from agentworkspace.service.audit.seals import Checkpoint, Seal
from agentworkspace.service.audit.tables import AuditLog
from agentworkspace.service.audit.verifying import Verified
from provision_service.storage.schema import AUDIT as PROVISION
from registry_service.storage.schema import AUDIT as REGISTRY

LOGS: Final = {"registry": REGISTRY, "provision": PROVISION}
PATIENCE_SECONDS: Final = 30.0


def signing_keys() -> AuditKeys:
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    return AuditKeys({key_id_of(public): public}, private)


def write_key(path: Path, keys: AuditKeys, *, public: Sequence[AuditKeys] = ()) -> Path:
    """A key file; with the public keys of others beside it."""
    assert keys.private is not None
    text_of_key = keys.private.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ).decode()
    path.write_text(text_of_key + "".join(public_text(each) for each in public))
    path.chmod(0o600)
    return path


def public_text(keys: AuditKeys) -> str:
    (key,) = keys.public.values()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class AuditWorld:
    """`log` on the database of `engine`, whose role may do anything."""

    def __init__(self, engine: Engine, log: AuditLog, keys: AuditKeys = NO_KEYS) -> None:
        self.engine = engine
        self.log = log
        self.keys = keys
        self.checkpoints: list[Checkpoint] = []

    def write(self, *actions: str, tx: Connection | None = None) -> None:
        """One row for each, in one transaction."""
        changes = [
            Change(
                action=action,
                tenant_id="acme",
                workspace_id=str(uuid.uuid4()),
                subject=f"subject of {action}",
                details={"from": "1", "to": action},
            )
            for action in actions
        ]
        if tx is not None:
            self._append(tx, changes)
            return
        with self.engine.begin() as own:
            self._append(own, changes)

    def _append(self, tx: Connection, changes: Sequence[Change]) -> None:
        names = {"actor": "ada", "method": "/x/Y", "correlation_id": "c-1"}
        events.append(tx, self.log.schema, changes, **names)

    def seal(self, limit: int = sealing.ROWS_AT_ONCE) -> Seal | None:
        """One step of a replica."""
        with self.engine.begin() as tx:
            sealed = sealing.seal(tx, self.log, self.keys, limit=limit)
        if sealed is not None:
            self.checkpoints.append(sealed.checkpoint(self.log.schema))
        return sealed

    def seal_all(self, limit: int = sealing.ROWS_AT_ONCE) -> int:
        """Until nothing waits: other tests' transactions on this server are older for a while."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            sealed = self.seal(limit)
            if sealed is None and self.age() is None:
                return self.newest().rows
            assert time.monotonic() < give_up, "an older transaction does not end"
            if sealed is None:
                time.sleep(0.01)

    def age(self) -> float | None:
        with self.engine.connect() as tx:
            return sealing.pending(tx, self.log, None).age

    def newest(self) -> Seal:
        with self.engine.connect() as tx:
            found = seals.newest(tx, self.log)
        assert found is not None
        return found

    def verify(self, *checkpoints: Checkpoint, keys: AuditKeys | None = None) -> Verified:
        with self.engine.connect() as tx:
            return verifying.verify(tx, self.log, keys or self.keys, checkpoints)

    def changed(self, *checkpoints: Checkpoint, keys: AuditKeys | None = None) -> str:
        """What `verify` says was changed; empty when everything holds."""
        try:
            self.verify(*checkpoints, keys=keys)
        except Changed as changed:
            return str(changed)
        return ""

    def sql(self, statement: str, **parameters: object) -> list[Any]:
        """With {events}, {seals} and {time} filled in."""
        with self.engine.begin() as tx:
            result = tx.execute(text(self.log.sql(statement)), parameters)
            return list(result) if result.returns_rows else []

    def event_ids(self) -> list[str]:
        """In the order of sealing."""
        rows = self.sql("SELECT event_id::text FROM {events} ORDER BY xact, event_id")
        return [event_id for (event_id,) in rows]


@contextmanager
def audit_at(url: str, log: AuditLog, keys: AuditKeys = NO_KEYS) -> Iterator[AuditWorld]:
    engine = create_engine(url)
    try:
        yield AuditWorld(engine, log, keys)
    finally:
        engine.dispose()
