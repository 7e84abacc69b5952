"""Verifies an audit against its seals, by reading all of it once, from the oldest seal on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from agentworkspace.service.audit import seals
from agentworkspace.service.audit.comparing import Changed, Clock, Found, compare, compare_left
from agentworkspace.service.audit.keys import AuditKeys
from agentworkspace.service.audit.seals import ENTRY_BYTES, NO_DIGEST, Checkpoint, Seal
from agentworkspace.service.audit.tables import AuditLog, digest_of_row, readable

_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SEALS_AT_ONCE: Final = 50
_ROWS: Final = """
SELECT e.event_id::text, e.xact + %(shift)s, {readable}, e.action, {digest}
FROM {events} e
WHERE (%(first)s OR (e.xact, e.event_id) > (%(after_xact)s, %(after_id)s::uuid))
    AND (%(to_the_end)s OR (e.xact, e.event_id) <= (%(xact)s, %(event_id)s::uuid))
ORDER BY e.xact, e.event_id
"""
# The columns are NOT NULL, but the owner of the table could change that.
_WITHOUT_PLACE: Final = """
SELECT e.event_id::text, 0, {readable}, e.action, ''::bytea FROM {events} e
WHERE e.xact IS NULL OR e.event_id IS NULL LIMIT 1
"""


@dataclass(slots=True, kw_only=True)
class Verified:
    """What was verified.

    `pruned`, `signed_since` and `agreed` are numbers of seals, 0 for none: everything up to
    `pruned` was pruned, seals from `signed_since` on are signed, and `agreed` is the newest that
    is in the log. `unsealed` rows wait for their seal. `chains` are the seals that begin a chain.
    """

    seals: int = 0
    rows: int = 0
    newest: Seal | None = None
    pruned: int = 0
    signed_since: int = 0
    agreed: int = 0
    unsealed: int = 0
    unsealed_since: datetime | None = None
    chains: list[Seal] = field(default_factory=list)


def verify(
    tx: Connection, log: AuditLog, keys: AuditKeys, checkpoints: Sequence[Checkpoint] = ()
) -> Verified:
    """Verify the audit on one snapshot; `tx` must not have run a statement yet. Raises Changed."""
    tx.exec_driver_sql(_SNAPSHOT)
    return _Walk(tx, log, keys, checkpoints).whole()


class _Walk:
    """One pass over the seals, in order. `self._last` is the seal before the current one."""

    def __init__(
        self, tx: Connection, log: AuditLog, keys: AuditKeys, checkpoints: Sequence[Checkpoint]
    ) -> None:
        self._tx = tx
        self._log = log
        self._keys = keys
        self._told: dict[tuple[str, int], Checkpoint] = {}
        for each in checkpoints:
            self._take(each)
        self._shifts: list[tuple[int, int]] = []
        self._found = Verified()
        for seal in seals.read(tx, log, "WHERE shift <> 0 OR pruned <> 0 ORDER BY number"):
            self._look_ahead(seal)
        self._is_said_pruned = not self._found.pruned
        self._clock = Clock()
        self._last: Seal | None = None

    def whole(self) -> Verified:
        for seal in self._seals():
            self._check_seal(seal)
            self._check_rows(seal)
            if seal.number >= self._found.pruned:
                self._check_signature(seal)
                self._check_log(seal)
                self._is_said_pruned |= seal.pruned == self._found.pruned
                self._found.seals += 1
            self._clock.note(seal)
            self._last = self._found.newest = seal
        self._check_end()
        self._look_at_unsealed()
        return self._found

    def _take(self, told: Checkpoint) -> None:
        if self._keys.holds(told.key_id, told.signature, told.statement) is False:
            raise Changed(f"{told.statement} is a forged checkpoint: its signature does not hold")
        earlier = self._told.setdefault((told.chain, told.number), told)
        if earlier.digest != told.digest:
            raise Changed(f"the log has two different seals {told.number}: the audit was rewritten")

    def _look_ahead(self, seal: Seal) -> None:
        """Note what this seal says about where rows are now, unless it was edited."""
        if seal.computed(self._log.schema) != seal.digest:
            raise Changed(f"seal {seal.number} of {seal.time} was edited")
        self._shifts.append((seal.number, seal.shift))
        self._found.pruned = max(self._found.pruned, seal.pruned)

    def _seals(self) -> Iterator[Seal]:
        """All seals in order, also pruned ones that have not been deleted yet."""
        number = 0
        which = f"WHERE number > %(number)s ORDER BY number LIMIT {_SEALS_AT_ONCE}"
        while portion := list(seals.read(self._tx, self._log, which, number=number)):
            yield from portion
            number = portion[-1].number

    def _check_seal(self, seal: Seal) -> None:
        """Check that the seal follows the one before, and that its digest is right."""
        last, is_first = self._last, self._last is None
        expected = max(self._found.pruned, 1) if last is None else last.number + 1
        is_left = is_first and 0 < seal.number < expected
        if seal.number != expected and not is_left:
            raise Changed(f"seal {expected} was removed ({_rows_of(seal, last)})")
        if last is not None and seal.previous != last.digest:
            raise Changed(f"seal {last.number} was edited: seal {seal.number} follows another one")
        if is_first and not self._found.pruned and seal.previous != NO_DIGEST:
            raise Changed("seal 1 was edited: it follows another one")
        counted = seal.rows if is_first and self._found.pruned else seal.count
        counted += 0 if last is None else last.rows
        begins = last is not None and seal.chain != last.chain
        is_whole = len(seal.entries) % ENTRY_BYTES == 0 and (bool(seal.reason) or not begins)
        is_own = seal.rows == counted and seal.computed(self._log.schema) == seal.digest
        if not is_whole or not is_own:
            raise Changed(f"seal {seal.number} of {seal.time} was edited ({_rows_of(seal, last)})")
        if is_first or begins:
            self._found.chains.append(seal)

    def _check_rows(self, seal: Seal) -> None:
        rows = self._rows_of(seal)
        if seal.number <= self._found.pruned:
            compare_left(seal, rows)
            return
        compare(seal, rows)
        for row in rows:
            self._clock.check(row, seal.time)
        self._found.rows += seal.count

    def _check_signature(self, seal: Seal) -> None:
        """Check the signature; after a seal with a known key there must be no other kind."""
        since = self._found.signed_since
        statement = seal.checkpoint(self._log.schema).statement
        holds = self._keys.holds(seal.key_id, seal.signature, statement)
        if holds is False:
            raise Changed(f"seal {seal.number} was edited: its signature does not hold")
        if holds:
            self._found.signed_since = since or seal.number
        elif since:
            by = f"with an unknown key, {seal.key_id}" if seal.key_id else "by nobody"
            raise Changed(
                f"seal {seal.number} of {seal.time} is signed {by}, and seal {since} before it with"
                " a known key: give the newer public key too, or somebody without a key made it"
            )

    def _check_log(self, seal: Seal) -> None:
        told = self._told.pop((seal.chain, seal.number), None)
        if told is None:
            return
        if told != seal.checkpoint(self._log.schema):
            raise Changed(
                f"the audit was rewritten between seal {self._found.agreed} and seal {seal.number}"
                f" (row {seal.rows}): the seals fit each other, and not the log"
            )
        self._found.agreed = seal.number

    def _check_end(self) -> None:
        if not self._is_said_pruned:
            raise Changed(
                f"what came before seal {self._found.pruned} was removed, and no seal says that it"
                " was pruned"
            )
        for told in self._told.values():
            if told.number >= self._found.pruned:
                raise Changed(self._missing(told))
        if self._keys.public and self._last is not None and not self._found.signed_since:
            raise Changed("no seal is signed with any of the keys that were given")

    def _missing(self, told: Checkpoint) -> str:
        last = self._last
        rows = 0 if last is None else last.rows
        if last is None or (told.chain == last.chain and told.number > last.number):
            return (
                f"rows {rows + 1} to {told.rows} were removed: the log has seal {told.number}, the"
                f" newest one here is {0 if last is None else last.number}"
            )
        return (
            f"seal {told.number} (row {told.rows}) of chain {told.chain} is in the log and not"
            " here: it was removed, or lost by the restore that began another chain"
        )

    def _look_at_unsealed(self) -> None:
        for row in self._read(_WITHOUT_PLACE):
            raise row.inserted("without a transaction or an id, which every row has")
        for row in self._rows_of(None):
            if self._last is None:
                raise Changed(
                    f"no row is sealed, not even {row}: start the service, which seals them, or"
                    " find out who removed the seals"
                )
            self._clock.check(row, None)
            self._found.unsealed += 1
            since = self._found.unsealed_since
            self._found.unsealed_since = row.time if since is None else min(since, row.time)

    def _rows_of(self, seal: Seal | None) -> list[Found]:
        """The rows in the range of this seal; with None, those after the last seal."""
        shift = 0 if seal is None else self._shift_since(seal)
        last = self._last
        parameters = {
            "shift": shift,
            "first": last is None,
            "after_xact": 0 if last is None else last.xact - self._shift_since(last),
            "after_id": seals.NO_EVENT if last is None else last.event_id,
            "to_the_end": seal is None,
            "xact": 0 if seal is None else seal.xact - shift,
            "event_id": seals.NO_EVENT if seal is None else seal.event_id,
        }
        return self._read(_ROWS, **parameters)

    def _shift_since(self, seal: Seal) -> int:
        """By how much the `xact` of its rows was lowered since the seal was made."""
        return sum(shift for number, shift in self._shifts if number > seal.number)

    def _read(self, statement: str, **parameters: Any) -> list[Found]:
        digest = digest_of_row(self._log, "e.xact + %(shift)s")
        time = readable(f"e.{self._log.time}")
        asked = self._log.sql(statement, digest=digest, readable=time)
        return [
            Found(event_id, xact, time, action, bytes(digest))
            for event_id, xact, time, action, digest in self._tx.exec_driver_sql(asked, parameters)
        ]


def _rows_of(seal: Seal, last: Seal | None) -> str:
    """The rows that this seal covers, for a message."""
    first = 1 if last is None else last.rows + 1
    return f"of rows {first} to {seal.rows}" if seal.rows >= first else "of no row"
