"""A seal: its columns, its digest, how it is stored, and its text in the log (a checkpoint)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection

from agentworkspace.service.audit.keys import AuditKeys
from agentworkspace.service.audit.tables import AuditLog, readable

NO_DIGEST: Final = bytes(32)
NO_EVENT: Final = str(UUID(int=0))
# Sorts after every event of a transaction.
LAST_EVENT: Final = str(UUID(int=2**128 - 1))
ID_BYTES: Final = 16
ENTRY_BYTES: Final = ID_BYTES + 32
_PRUNED: Final = "SELECT coalesce(max(pruned), 0) FROM {seals}"
_READ: Final = "SELECT {names} FROM {seals} {which}"
_INSERT: Final = "INSERT INTO {seals} ({names}) VALUES ({places})"
_HEX: Final = "[0-9a-f]"
_TEXT: Final = re.compile(
    rf"audit/v1/(?P<schema>[a-z]+)/(?P<chain>[0-9a-f-]{{36}})/(?P<number>\d{{1,18}})"
    rf"/(?P<rows>\d{{1,18}})/(?P<digest>{_HEX}{{64}})"
    rf"(?:/(?P<key_id>{_HEX}{{32}})/(?P<signature>{_HEX}{{128}}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What the log keeps of a seal, to prove later that the database still says the same."""

    schema: str
    chain: str
    number: int
    rows: int
    digest: bytes
    key_id: str = ""
    signature: bytes = b""

    @property
    def statement(self) -> str:
        """The text that is signed."""
        names = (self.schema, self.chain, str(self.number), str(self.rows), self.digest.hex())
        return "/".join(("audit/v1", *names))

    def __str__(self) -> str:
        signed = f"/{self.key_id}/{self.signature.hex()}" if self.signature else ""
        return self.statement + signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A row of the table of seals; the columns are explained at `AuditSealColumns`."""

    number: int
    chain: str
    time: datetime
    rows: int
    xact: int
    event_id: str
    horizon: int
    shift: int = 0
    pruned: int = 0
    reason: str = ""
    previous: bytes = NO_DIGEST
    entries: bytes = b""
    digest: bytes = b""
    key_id: str = ""
    signature: bytes = b""

    @property
    def count(self) -> int:
        """How many rows this seal covers itself."""
        return len(self.entries) // ENTRY_BYTES

    def computed(self, schema: str) -> bytes:
        """The digest that the seal must have, by its other columns."""
        said = [
            schema,
            self.number,
            self.chain,
            self.time.astimezone(UTC).isoformat(timespec="microseconds"),
            self.rows,
            self.xact,
            self.event_id,
            self.horizon,
            self.shift,
            self.pruned,
            self.reason,
            self.previous.hex(),
            hashlib.sha256(self.entries).hexdigest(),
        ]
        return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).digest()

    def checkpoint(self, schema: str) -> Checkpoint:
        return Checkpoint(
            schema=schema,
            chain=self.chain,
            number=self.number,
            rows=self.rows,
            digest=self.digest,
            key_id=self.key_id,
            signature=self.signature,
        )


_NAMES: Final = tuple(each.name for each in fields(Seal))
_READ_NAMES: Final = tuple(
    f"{readable(name)} AS {name}" if name == "time" else name for name in _NAMES
)
_BYTES: Final = frozenset({"previous", "entries", "digest", "signature"})


def checkpoints_in(text: str) -> Iterator[Checkpoint]:
    """The checkpoints in a line of the log, or in any other text, in order."""
    for found in _TEXT.finditer(text):
        yield Checkpoint(
            schema=found["schema"],
            chain=found["chain"],
            number=int(found["number"]),
            rows=int(found["rows"]),
            digest=bytes.fromhex(found["digest"]),
            key_id=found["key_id"] or "",
            signature=bytes.fromhex(found["signature"] or ""),
        )


def newest(tx: Connection, log: AuditLog) -> Seal | None:
    return next(read(tx, log, "ORDER BY number DESC LIMIT 1"), None)


def pruned_up_to(tx: Connection, log: AuditLog) -> int:
    """The number of the seal up to which everything may be gone; 0 when nothing is."""
    number: int = tx.exec_driver_sql(log.sql(_PRUNED)).scalar_one()
    return number


def read(tx: Connection, log: AuditLog, which: str, **parameters: int) -> Iterator[Seal]:
    """The seals that `which` selects: SQL that follows the FROM clause, with these parameters."""
    statement = log.sql(_READ, which=which, names=", ".join(_READ_NAMES))
    for row in tx.exec_driver_sql(statement, parameters).mappings():
        yield Seal(**{name: _read(name, value) for name, value in row.items()})


def append(tx: Connection, log: AuditLog, seal: Seal, keys: AuditKeys) -> Seal:
    """Store a seal with its digest, signed if there is a private key; returns it so completed."""
    digest = seal.computed(log.schema)
    given = {name: getattr(seal, name) for name in _NAMES} | {"digest": digest}
    unsigned = Seal(**given).checkpoint(log.schema)
    given |= {"key_id": keys.signing, "signature": keys.sign(unsigned.statement)}
    places = ", ".join(f"%({name})s" for name in _NAMES)
    tx.exec_driver_sql(log.sql(_INSERT, names=", ".join(_NAMES), places=places), given)
    return Seal(**given)


def _read(name: str, value: Any) -> Any:
    """A column as bytes or text; the driver returns memoryviews, and ids in either form."""
    if name in _BYTES:
        return bytes(value)
    return str(value) if isinstance(value, UUID) else value
