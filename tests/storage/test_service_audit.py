"""Sealing and verifying on a real database, for the audit of both services."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from agentworkspace.service.audit import sealing, seals
from agentworkspace.service.audit.keys import NO_KEYS, AuditKeys
from agentworkspace.service.audit.sealing import CountsAnew, WasSigned
from agentworkspace.service.audit.tables import WRITTEN
from tests.postgres import PostgresServer
from tests.storage.audit_world import LOGS, AuditWorld, audit_at, signing_keys

KEYS = signing_keys()


@pytest.fixture(params=sorted(LOGS))
def audit(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[AuditWorld]:
    """Signed by KEYS."""
    service: str = request.param
    with postgres.fresh_database(service) as url, audit_at(url, LOGS[service], KEYS) as world:
        yield world


def test_rows_are_sealed_once_in_the_order_of_their_transactions(audit: AuditWorld) -> None:
    audit.write("one")
    audit.write("two", "three")
    audit.seal_all()
    audit.write("four")
    assert audit.seal_all() == 4
    found = audit.verify(*audit.checkpoints)
    assert (found.rows, found.unsealed, found.signed_since) == (4, 0, 1)
    assert found.newest is not None
    assert found.agreed == found.newest.number
    assert [chain.reason for chain in found.chains] == ["the first chain"]


def test_nothing_new_makes_no_seal(audit: AuditWorld) -> None:
    audit.write("one")
    audit.seal_all()
    assert audit.seal() is None
    assert audit.age() is None


def test_more_rows_than_one_seal_holds_take_several(audit: AuditWorld) -> None:
    audit.write(*(f"row {number}" for number in range(25)))
    audit.seal_all(limit=10)
    sizes = audit.sql("SELECT length(entries) / 48 FROM {seals} ORDER BY number")
    assert [size for (size,) in sizes] == [0, 10, 10, 5]
    assert audit.verify().rows == 25


def test_who_commits_late_comes_into_a_later_seal_and_is_no_insertion(audit: AuditWorld) -> None:
    audit.seal()
    with audit.engine.connect() as late, audit.engine.connect() as waiting:
        audit.write("late", tx=late)
        audit.write("early")
        assert audit.age() is not None
        audit.seal()
        assert audit.seal() is None
        assert audit.verify().unsealed == 1
        audit.write("last", tx=waiting)
        late.commit()
        waiting.commit()
    assert audit.seal_all() == 3
    assert audit.changed(*audit.checkpoints) == ""


def test_what_was_rolled_back_is_missed_by_nobody(audit: AuditWorld) -> None:
    with audit.engine.connect() as given_up:
        audit.write("given up", tx=given_up)
        given_up.rollback()
    audit.write("kept")
    assert audit.seal_all() == 1
    assert audit.changed() == ""


def test_replicas_seal_one_chain(audit: AuditWorld) -> None:
    """Four of them at once, while rows are written."""
    written = threading.Event()

    def replica(_: int) -> None:
        while not written.is_set():
            audit.seal(limit=7)

    with ThreadPoolExecutor(4) as replicas:
        running = [replicas.submit(replica, number) for number in range(4)]
        for number in range(40):
            audit.write(*(f"{number}/{row}" for row in range(3)))
        written.set()
        for each in running:
            each.result()
    assert audit.seal_all() == 120
    found = audit.verify(*audit.checkpoints)
    assert (found.rows, found.agreed) == (120, found.seals)


def test_a_replica_that_seals_meanwhile_is_not_waited_for(audit: AuditWorld) -> None:
    audit.seal()
    audit.write("one")
    with audit.engine.begin() as other:
        sealing.lock(other, audit.log)
        assert audit.seal() is None
    assert audit.seal_all() == 1


def test_a_seal_that_was_not_committed_never_was(audit: AuditWorld) -> None:
    """A replica that dies between sealing and committing."""
    audit.seal()
    audit.write("one")
    with audit.engine.connect() as dying:
        while sealing.seal(dying, audit.log, KEYS) is None:
            dying.rollback()
        dying.rollback()
    assert audit.verify().rows == 0
    assert audit.seal_all() == 1
    assert audit.changed() == ""


def test_two_seals_of_one_number_cannot_be(audit: AuditWorld) -> None:
    audit.seal()
    with audit.engine.begin() as tx, pytest.raises(IntegrityError):
        seals.append(tx, audit.log, audit.newest(), KEYS)


def test_rows_of_before_the_seals_are_sealed_like_others(audit: AuditWorld) -> None:
    audit.write("old", "older")
    audit.sql("UPDATE {events} SET xact = 0")
    audit.write("new")
    assert audit.seal_all() == 3
    assert audit.changed() == ""


def test_a_new_key_signs_on_and_the_old_one_is_still_known(audit: AuditWorld) -> None:
    audit.write("one")
    audit.seal_all()
    newer = signing_keys()
    both = AuditKeys({**KEYS.public, **newer.public}, newer.private)
    audit.keys = both
    audit.write("two")
    audit.seal_all()
    assert audit.verify().signed_since == 1
    assert audit.verify(keys=newer).signed_since == audit.newest().number
    assert "signed with an unknown key" in audit.changed(keys=KEYS)


def test_what_was_signed_is_not_continued_without_a_key(audit: AuditWorld) -> None:
    audit.seal()
    audit.write("one")
    audit.keys = NO_KEYS
    with pytest.raises(WasSigned):
        audit.seal()
    with audit.engine.begin() as tx, pytest.raises(WasSigned):
        sealing.begin_chain(tx, audit.log, NO_KEYS, reason="no key")


def test_a_chain_without_a_key_holds_and_can_be_signed_later(audit: AuditWorld) -> None:
    audit.keys = NO_KEYS
    audit.write("one")
    audit.seal_all()
    found = audit.verify()
    assert (found.rows, found.signed_since) == (1, 0)
    assert audit.changed(keys=KEYS) == "no seal is signed with any of the keys that were given"
    audit.keys = KEYS
    audit.write("two")
    audit.seal_all()
    assert audit.verify().signed_since == audit.newest().number


def test_a_new_chain_begins_where_the_last_one_stands(audit: AuditWorld) -> None:
    audit.write("one")
    audit.seal_all()
    with audit.engine.begin() as tx:
        begun = sealing.begin_chain(tx, audit.log, KEYS, reason="restored from last night")
    audit.write("two")
    assert audit.seal_all() == 3
    found = audit.verify()
    assert [chain.reason for chain in found.chains] == [
        "the first chain",
        "restored from last night",
    ]
    assert found.chains[1] == begun
    assert (begun.number, begun.rows, begun.shift) == (3, 1, 0)
    noted = audit.sql("SELECT details FROM {events} WHERE action = 'audit.chain_begun'")
    assert [details for (details,) in noted] == [
        {
            "from": found.chains[0].chain,
            "to": begun.chain,
            "reason": "restored from last night",
        }
    ]


def test_a_chain_that_is_begun_without_a_reason_says_so_and_holds(audit: AuditWorld) -> None:
    audit.seal()
    with audit.engine.begin() as tx:
        assert sealing.begin_chain(tx, audit.log, KEYS, reason=" ").reason == "no reason was given"
    audit.seal_all()
    assert audit.changed() == ""


def test_a_checkpoint_that_a_restore_lost_is_named_and_later_ones_hold(audit: AuditWorld) -> None:
    audit.write("one")
    audit.seal_all()
    lost = replace(audit.checkpoints[-1], number=9, rows=7, key_id="", signature=b"")
    with audit.engine.begin() as tx:
        sealing.begin_chain(tx, audit.log, KEYS, reason="restored")
    audit.write("two")
    audit.seal_all()
    assert audit.changed(lost).startswith(
        f"seal 9 (row 7) of chain {lost.chain} is in the log and not here"
    )
    assert audit.changed(audit.checkpoints[-1]) == ""


def test_a_server_that_counts_transactions_anew_needs_a_new_chain(
    audit: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a dump holds when it is loaded into a fresh server: rows of greater transactions."""
    audit.seal()
    audit.write("one", "two")
    audit.sql("UPDATE {events} SET xact = xact + 1000000000")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sealing, "_OVER", "true")
        audit.seal(limit=2)
        audit.write("not sealed in the backup")
        audit.sql("UPDATE {events} SET xact = xact + 1000000000 WHERE xact < 1000000000")
    audit.write("written before anybody noticed")
    with pytest.raises(CountsAnew):
        audit.seal()
    with audit.engine.begin() as tx:
        begun = sealing.begin_chain(tx, audit.log, KEYS, reason="moved")
    assert begun.shift > 1_000_000_000
    audit.write("after")
    assert audit.seal_all() == 6
    assert audit.verify(*audit.checkpoints).rows == 6
    first = audit.event_ids()[0]
    audit.sql("UPDATE {events} SET actor = 'eve' WHERE event_id = :first", first=first)
    assert audit.changed().startswith(f"row 1 (event {first}, ")


def test_a_row_without_a_place_is_named(audit: AuditWorld) -> None:
    """The owner of the table can do that, and the service would list the row."""
    audit.seal()
    audit.write("one")
    audit.seal_all()
    ((key,),) = audit.sql(
        "SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = CAST(:t AS regclass)",
        t=f"{audit.log.schema}.audit_events",
    )
    audit.sql(f"ALTER TABLE {{events}} DROP CONSTRAINT {key}")
    audit.sql("ALTER TABLE {events} ALTER COLUMN xact DROP NOT NULL")
    names = ", ".join((*WRITTEN, *audit.log.more))
    insert = "INSERT INTO {events} (xact, {names}) SELECT NULL, {names} FROM {events}"
    audit.sql(audit.log.sql(insert, names=names))
    assert "was inserted without a transaction" in audit.changed()
