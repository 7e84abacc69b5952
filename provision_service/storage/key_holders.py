"""Which replica holds which encryption keys, as the replicas themselves report it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from provision_service.storage.models_internal import KeyHolderRow

# For so long a replica that was killed still counts as alive. It is longer than the pause between
# reports and the time for which a replica that stalls in its report can hold up the others
# (`Limits.idle_in_transaction`) together.
LEASE: Final = timedelta(seconds=20)
_H = KeyHolderRow
_LIVES: Final = _H.lease_expire_time > func.clock_timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One serving process; `name` is what an operator finds it by."""

    replica_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What a replica reports: the keys it can open with, the one that its file calls current, and
    the one that it writes with until every replica holds that. An empty `writes_with`: it writes
    nothing.
    """

    name: str
    key_ids: frozenset[str]
    wants: str
    writes_with: str


def lock(tx: Connection) -> None:
    """One report at a time: of two replicas, the later one sees what the earlier one said."""
    tx.execute(text(f"LOCK TABLE {_H.__table__} IN SHARE ROW EXCLUSIVE MODE"))


def report(tx: Connection, replica: Replica, holder: Holder) -> None:
    """Say what this replica holds, for the time of a lease."""
    said = {
        "name": holder.name,
        "key_ids": sorted(holder.key_ids),
        "wants": holder.wants,
        "writes_with": holder.writes_with,
        "lease_expire_time": func.clock_timestamp() + LEASE,
    }
    written = insert(KeyHolderRow).values(replica_id=replica.replica_id, **said)
    tx.execute(written.on_conflict_do_update(index_elements=[_H.replica_id], set_=said))
    tx.execute(delete(KeyHolderRow).where(~_LIVES))


def leave(tx: Connection, replica: Replica) -> None:
    """Take back the report of a replica that ends, so that it holds up nobody."""
    tx.execute(delete(KeyHolderRow).where(_H.replica_id == replica.replica_id))


def others(tx: Connection, replica: Replica | None) -> list[Holder]:
    """The live replicas but this one, by name."""
    query = select(_H.__table__).where(_LIVES).order_by(_H.name, _H.replica_id)
    if replica is not None:
        query = query.where(_H.replica_id != replica.replica_id)
    return [
        Holder(
            name=row.name,
            key_ids=frozenset(row.key_ids),
            wants=row.wants,
            writes_with=row.writes_with,
        )
        for row in tx.execute(query)
    ]


def key_to_write_with(wants: str, usable: Mapping[str, datetime], rest: Collection[Holder]) -> str:
    """`wants` when every replica holds it, else the youngest key that every one of them holds.

    `usable` are the keys of this replica, with the times they were first seen. Empty: there is
    no key that everybody could read.
    """
    shared = set(usable).intersection(*(holder.key_ids for holder in rest))
    if wants in shared:
        return wants
    return max(shared, key=lambda key_id: (usable[key_id], key_id), default="")
