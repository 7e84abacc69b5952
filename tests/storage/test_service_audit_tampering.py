"""Whatever is edited, removed or inserted in a sealed audit, `verify` names it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentworkspace.service.audit import seals
from agentworkspace.service.audit.keys import AuditKeys
from agentworkspace.service.audit.seals import Checkpoint
from agentworkspace.service.audit.tables import WRITTEN
from tests.postgres import PostgresServer
from tests.rounds import TIMES
from tests.storage.audit_world import LOGS, AuditWorld, audit_at, signing_keys

KEYS = signing_keys()
ROWS = 24
# What somebody may put into a column: something else than there was.
OTHER = {
    "event_id": "gen_random_uuid()",
    "workspace_id": "gen_random_uuid()",
    "details": "details || jsonb_build_object('more', 1)",
    "time": "time + interval '1 microsecond'",
    "create_time": "create_time - interval '1 microsecond'",
    "xact": "xact + {by}",
    "seq": "seq + 1000",
    "number": "number + 1000",
    "chain": "gen_random_uuid()",
    "rows": "rows + 1",
    "horizon": "horizon + 1",
    "shift": "shift + 1",
    "pruned": "pruned + 1",
    "previous": "sha256(previous)",
    "entries": "entries || '\\x00'",
    "digest": "sha256(digest)",
    "signature": "sha512(signature)",
}

SEAL_COLUMNS = (
    "number", "chain", "time", "rows", "xact", "event_id", "horizon", "shift", "pruned", "reason",
    "previous", "entries", "digest", "key_id", "signature",
)  # fmt: skip


class Sealed(AuditWorld):
    """Puts everything back as it was."""

    def seal_rows(self) -> None:
        for number in range(ROWS // 3):
            self.write(*(f"{number}/{row}" for row in range(3)))
            if number % 2:
                self.seal_all(limit=4)
        self.last_row = self.seal_all(limit=4)
        self.ids = self.event_ids()
        self.sql("CREATE TABLE kept_events AS SELECT * FROM {events}")
        self.sql("CREATE TABLE kept_seals AS SELECT * FROM {seals}")
        self.columns = [*WRITTEN, *self.log.more, self.log.time, "event_id", "xact"]

    def restore(self) -> None:
        self.sql(
            "DELETE FROM {events}; INSERT INTO {events} SELECT * FROM kept_events;"
            "DELETE FROM {seals}; INSERT INTO {seals} SELECT * FROM kept_seals"
        )

    def edit(self, table: str, column: str, key: str, value: object, by: int = 1) -> None:
        """Something else into this column of the row that has this key."""
        other = OTHER.get(column, "{column} || 'x'").format(column=column, by=by)
        names = {"table": f"{{{table}}}", "column": column, "other": other, "key": key}
        statement = "UPDATE {table} SET {column} = {other} WHERE {key} = :value"
        self.sql(statement.format(**names), value=value)


@pytest.fixture(params=sorted(LOGS), scope="module")
def sealed_once(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Sealed]:
    service: str = request.param
    with postgres.fresh_database(service) as url, audit_at(url, LOGS[service], KEYS) as world:
        sealed = Sealed(world.engine, world.log, KEYS)
        sealed.seal_rows()
        yield sealed


@pytest.fixture
def audit(sealed_once: Sealed) -> Sealed:
    sealed_once.restore()
    assert sealed_once.changed(*sealed_once.checkpoints) == ""
    return sealed_once


often = settings(
    max_examples=40 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
row = st.integers(0, ROWS - 1)


@often
@given(data=st.data())
def test_an_edit_of_any_column_of_any_row_is_named(audit: Sealed, data: st.DataObject) -> None:
    audit.restore()
    event_id = audit.ids[data.draw(row)]
    column = data.draw(st.sampled_from(audit.columns))
    by = data.draw(st.integers(-9, 9).filter(bool))
    audit.edit("events", column, "event_id", event_id, by)
    if column == "event_id":
        assert f"(event {event_id}) was removed" in audit.changed() or "inserted" in audit.changed()
    else:
        assert event_id in audit.changed()


@pytest.mark.parametrize("at", ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC"])
def test_a_time_that_python_cannot_hold_is_named_like_any_other(audit: Sealed, at: str) -> None:
    audit.sql("UPDATE {events} SET {time} = :at WHERE event_id = :it", at=at, it=audit.ids[5])
    assert audit.changed().startswith(f"row 6 (event {audit.ids[5]}")
    audit.restore()
    audit.sql("UPDATE {seals} SET time = :at WHERE number = 2", at=at)
    assert audit.changed().startswith("seal 2 of ")


@often
@given(gone=st.sets(row, min_size=1))
def test_of_rows_that_were_removed_the_first_is_named(audit: Sealed, gone: set[int]) -> None:
    audit.restore()
    ids = [audit.ids[place] for place in gone]
    audit.sql("DELETE FROM {events} WHERE event_id::text = ANY (:ids)", ids=ids)
    first = min(gone)
    assert audit.changed().startswith(f"row {first + 1} (event {audit.ids[first]}) was removed")


@often
@given(place=row, older=st.booleans())
def test_a_row_that_was_inserted_is_named(audit: Sealed, place: int, older: bool) -> None:
    """Among the sealed ones, or behind them with a time that was over."""
    audit.restore()
    names = {
        "columns": ", ".join(WRITTEN),
        "own": "" if older else "xact, ",
        "by": "1 minute" if older else "0",
    }
    ((event_id,),) = audit.sql(
        audit.log.sql(
            "INSERT INTO {events} ({own}{time}, {columns})"
            " SELECT {own}{time} - interval '{by}', {columns} FROM {events}"
            " WHERE event_id = :copied RETURNING event_id::text",
            **names,
        ),
        copied=audit.ids[place],
    )
    assert audit.changed().startswith(f"event {event_id}, ")
    assert "was inserted" in audit.changed()


@often
@given(data=st.data())
def test_an_edit_of_any_column_of_a_seal_is_named(audit: Sealed, data: st.DataObject) -> None:
    audit.restore()
    number = data.draw(st.integers(1, audit.newest().number))
    column = data.draw(st.sampled_from(SEAL_COLUMNS))
    audit.edit("seals", column, "number", number)
    assert "seal" in audit.changed(*audit.checkpoints)


@often
@given(data=st.data())
def test_a_seal_that_was_removed_is_named(audit: Sealed, data: st.DataObject) -> None:
    audit.restore()
    number = data.draw(st.integers(1, audit.newest().number - 1))
    audit.sql("DELETE FROM {seals} WHERE number = :number", number=number)
    assert audit.changed().startswith(f"seal {number} was removed")


@often
@given(left=st.integers(0, ROWS - 1))
def test_a_tail_that_was_cut_off_is_named_by_the_log(audit: Sealed, left: int) -> None:
    """Its rows with it, so that nothing in the database tells."""
    audit.restore()
    last = audit.checkpoints[-1]
    audit.sql("DELETE FROM {seals} WHERE rows > :left", left=left)
    rows = 0
    for (rows,) in audit.sql("SELECT max(rows) FROM {seals}"):
        audit.sql("DELETE FROM {events} WHERE event_id::text = ANY (:gone)", gone=audit.ids[rows:])
    assert audit.changed() == ""
    assert audit.changed(last).startswith(f"rows {rows + 1} to {ROWS} were removed: the log has")


def rewrite(audit: Sealed, first: int, keys: AuditKeys) -> Checkpoint:
    """Edit the seals from this one on, so that they fit each other again."""
    with audit.engine.begin() as tx:
        old = list(seals.read(tx, audit.log, "ORDER BY number"))
        tx.exec_driver_sql(audit.log.sql("DELETE FROM {seals} WHERE number >= %(n)s"), {"n": first})
        last = old[first - 2]
        for seal in old[first - 1 :]:
            edited = replace(seal, previous=last.digest, horizon=seal.horizon - 1)
            last = seals.append(tx, audit.log, edited, keys)
    return last.checkpoint(audit.log.schema)


def test_seals_that_were_made_anew_without_the_key_are_named(audit: Sealed) -> None:
    rewrite(audit, 3, AuditKeys())
    assert audit.changed().startswith("seal 3 of ")
    assert "is signed by nobody" in audit.changed()
    audit.restore()
    rewrite(audit, 3, signing_keys())
    assert "is signed with an unknown key" in audit.changed()


def test_seals_that_were_made_anew_with_the_key_are_named_by_the_log(audit: Sealed) -> None:
    forged = rewrite(audit, 3, KEYS)
    assert audit.changed() == ""
    assert audit.changed(*audit.checkpoints).startswith(
        "the audit was rewritten between seal 2 and seal 3 (row "
    )
    assert audit.changed(*audit.checkpoints, forged).startswith(
        f"the log has two different seals {forged.number}"
    )


def test_a_forged_checkpoint_is_refused(audit: Sealed) -> None:
    last = audit.checkpoints[-1]
    assert "is a forged checkpoint" in audit.changed(replace(last, rows=last.rows + 1))


def test_an_audit_without_seals_proves_nothing(audit: Sealed) -> None:
    audit.sql("DELETE FROM {seals}")
    assert audit.changed().startswith(f"no row is sealed, not even event {audit.ids[0]}, 0/")


def test_a_removed_beginning_that_nothing_says_was_pruned_is_named(audit: Sealed) -> None:
    audit.sql("DELETE FROM {seals} WHERE number < 4")
    audit.sql("UPDATE {seals} SET pruned = 4 WHERE number = 4")
    assert "seal 4" in audit.changed()
