"""Pruning: what was kept for long enough goes, and what is left can be verified."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from agentworkspace.service.audit import pruning, sealing
from agentworkspace.service.audit.keys import NO_KEYS
from agentworkspace.service.audit.sealing import WasSigned
from agentworkspace.service.audit.tables import WRITTEN
from tests.postgres import PostgresServer
from tests.storage.audit_world import LOGS, AuditWorld, audit_at, signing_keys

KEYS = signing_keys()
KEEP = timedelta(days=30)


@pytest.fixture(params=sorted(LOGS))
def audit(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[AuditWorld]:
    """Three seals of two rows each; the first two are older than what is kept."""
    service: str = request.param
    with postgres.fresh_database(service) as url, audit_at(url, LOGS[service], KEYS) as world:
        world.seal()
        for number in range(3):
            world.write(f"{number}/0", f"{number}/1")
            world.seal_all()
        yield world


def prune_up_to(audit: AuditWorld, number: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """As if what is sealed up to there were older than what is kept."""
    old = "SELECT max(number) FROM {{seals}} WHERE number <= {} OR time < now() - %(keep)s"
    monkeypatch.setattr(pruning, "_KEPT_LONG_ENOUGH", old.format(number))
    return pruning.prune(audit.engine, audit.log, audit.keys, keep=KEEP).rows


def test_nothing_is_old_enough_yet(audit: AuditWorld) -> None:
    pruned = pruning.prune(audit.engine, audit.log, KEYS, keep=KEEP)
    assert (pruned.said, pruned.rows) == (None, 0)
    assert audit.verify().rows == 6


def test_what_is_left_is_verified_and_tampering_with_it_is_named(
    audit: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = audit.event_ids()
    assert prune_up_to(audit, 3, monkeypatch) == 4
    assert audit.event_ids()[:2] == ids[4:]
    audit.seal_all()
    found = audit.verify(*audit.checkpoints)
    # Two rows, and the one that says what was pruned.
    assert (found.pruned, found.rows, found.unsealed) == (3, 3, 0)
    audit.sql("DELETE FROM {events} WHERE event_id = :gone", gone=ids[4])
    assert audit.changed().startswith(f"row 5 (event {ids[4]}) was removed")


def test_pruning_again_goes_on_from_there(
    audit: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune_up_to(audit, 2, monkeypatch)
    audit.seal_all()
    assert prune_up_to(audit, 3, monkeypatch) == 2
    assert prune_up_to(audit, 3, monkeypatch) == 0
    audit.seal_all()
    assert audit.verify(*audit.checkpoints).pruned == 3
    said = audit.sql("SELECT details ->> 'from', details ->> 'to' FROM {events}"
                     " WHERE action = 'audit.pruned' ORDER BY xact")  # fmt: skip
    assert [tuple(row) for row in said] == [("0", "2"), ("2", "3")]


def test_what_a_crash_left_behind_counts_no_more_and_is_pruned_next(
    audit: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died when the seal was stored, before anything was deleted."""
    with monkeypatch.context() as dying:
        dying.setattr(pruning, "_ROWS", "this is no statement")
        with pytest.raises(Exception, match="syntax error"):
            prune_up_to(audit, 3, dying)
    assert len(audit.event_ids()) == 7
    assert audit.verify().pruned == 3
    assert pruning.prune(audit.engine, audit.log, KEYS, keep=KEEP).rows == 4
    assert audit.seal_all() == 7
    assert audit.changed(*audit.checkpoints) == ""


COPY = "INSERT INTO {{events}} (xact, {columns}) SELECT {place}, {columns} FROM {{events}} LIMIT 1"


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("place", ["-5", "0", "(SELECT xact FROM {seals} WHERE number = 3)"])
def test_a_row_that_was_inserted_where_rows_were_pruned_is_named(
    audit: AuditWorld, monkeypatch: pytest.MonkeyPatch, place: str, dies: bool
) -> None:
    """Also while what was pruned is not deleted yet."""
    with monkeypatch.context() as dying:
        if dies:
            dying.setattr(pruning, "_ROWS", "SELECT FROM {events}")
            dying.setattr(pruning, "_SEALS", "SELECT FROM {seals}")
        prune_up_to(audit, 3, dying)
    assert audit.changed() == ""
    audit.sql(COPY.format(columns=", ".join(WRITTEN), place=place))
    assert "was inserted among rows that were pruned" in audit.changed()


def test_an_edit_of_what_is_about_to_be_pruned_is_named(
    audit: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(pruning, "_ROWS", "SELECT FROM {events} LIMIT 0")
        dying.setattr(pruning, "_SEALS", "SELECT FROM {seals}")
        prune_up_to(audit, 3, dying)
    audit.sql("UPDATE {events} SET actor = 'nobody' WHERE action = '1/0'")
    assert "was edited" in audit.changed()


def test_deleting_the_beginning_without_saying_so_is_named(audit: AuditWorld) -> None:
    audit.sql("DELETE FROM {events} WHERE event_id::text = ANY (:gone)", gone=audit.event_ids()[:4])
    audit.sql("DELETE FROM {seals} WHERE number < 3")
    assert audit.changed().startswith("seal 1 was removed")


def test_who_says_so_needs_the_key(audit: AuditWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    audit.keys = NO_KEYS
    with pytest.raises(WasSigned):
        prune_up_to(audit, 3, monkeypatch)
    assert len(audit.event_ids()) == 6
    audit.keys = signing_keys()
    prune_up_to(audit, 3, monkeypatch)
    assert "is signed with an unknown key" in audit.changed(keys=KEYS)


def test_a_chain_that_was_begun_anew_is_pruned_over(
    audit: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    with audit.engine.begin() as tx:
        begun = sealing.begin_chain(tx, audit.log, KEYS, reason="restored")
    audit.write("after")
    audit.seal_all()
    prune_up_to(audit, begun.number + 1, monkeypatch)
    audit.seal_all()
    assert audit.changed(*audit.checkpoints) == ""
