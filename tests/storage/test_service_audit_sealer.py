"""What a serving process says while it seals: a checkpoint for each seal, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from agentworkspace.core.secret import Secret
from agentworkspace.service.audit import sealing
from agentworkspace.service.audit.keys import NO_KEYS, AuditKeys
from agentworkspace.service.audit.rejected import MOST_ROWS, RejectedCredentials
from agentworkspace.service.audit.sealer import Sealer
from agentworkspace.service.audit.seals import checkpoints_in
from registry_service.storage.store import Store, open_store
from tests.storage.audit_world import LOGS, AuditWorld, audit_at, signing_keys

LOG = LOGS["registry"]
KEYS = signing_keys()
LAG = "agentworkspace_audit_seal_lag_seconds"


class Replica:
    """A process that seals, as far as it is about sealing."""

    def __init__(self, store: Store, keys: AuditKeys = KEYS) -> None:
        self.store = store
        self.collectors = CollectorRegistry()
        self.sealer = Sealer(LOG, keys, RejectedCredentials(), collectors=self.collectors)

    def step(self) -> list[Any]:
        """One look, and what it logged."""
        with structlog.testing.capture_logs() as logged:
            self.sealer.seal(self.store)
        return logged

    def lag(self) -> float:
        return self.collectors.get_sample_value(LAG) or 0.0


@pytest.fixture
def store(registry_database: str) -> Iterator[Store]:
    store = open_store(Secret(registry_database), pool_size=2)
    yield store
    store.database.close()


@pytest.fixture
def audit(registry_database: str) -> Iterator[AuditWorld]:
    with audit_at(registry_database, LOG, KEYS) as world:
        yield world


def events(logged: list[Any]) -> list[str]:
    return [each["event"] for each in logged]


def test_every_seal_is_told_to_the_log_once(store: Store, audit: AuditWorld) -> None:
    replica = Replica(store)
    (first,) = replica.step()
    (checkpoint,) = checkpoints_in(str(first))
    assert (first["event"], checkpoint.number, checkpoint.rows) == ("audit sealed", 1, 0)
    assert checkpoint == audit.newest().checkpoint("registry")
    assert replica.step() == []
    audit.write("one")
    while audit.age() is not None:
        told = replica.step()
    assert events(told) == ["audit sealed"]
    assert replica.step() == []


def test_who_starts_tells_where_the_chain_stands(store: Store, audit: AuditWorld) -> None:
    audit.write("one")
    audit.seal_all()
    (told,) = Replica(store).step()
    assert list(checkpoints_in(str(told))) == [audit.newest().checkpoint("registry")]


def test_what_waits_is_measured(store: Store, audit: AuditWorld) -> None:
    replica = Replica(store)
    replica.step()
    audit.sql("SELECT 1")
    with audit.engine.connect() as older:
        audit.write("older", tx=older)
        audit.write("waits")
        audit.sql("UPDATE {events} SET time = time - interval '1 hour'")
        replica.step()
        assert replica.lag() >= 3600
    while audit.age() is not None:
        replica.step()
    replica.step()
    assert replica.lag() == 0


def test_seals_of_another_replica_are_no_news(store: Store, audit: AuditWorld) -> None:
    replica = Replica(store)
    replica.step()
    audit.write("one")
    audit.seal_all()
    assert replica.step() == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM {seals} WHERE number > 1",
        "DELETE FROM {seals}",
        "UPDATE {seals} SET digest = sha256(digest)",
    ],
)
def test_seals_that_were_changed_meanwhile_are_told(
    store: Store, audit: AuditWorld, statement: str
) -> None:
    audit.write("one")
    audit.seal_all()
    replica = Replica(store)
    replica.step()
    seen = audit.newest().checkpoint("registry")
    audit.sql(statement)
    told = [each for each in replica.step() if each["log_level"] == "error"]
    assert events(told) == [
        "the seals of the audit have been changed: run `audit verify` with this line"
    ]
    assert list(checkpoints_in(str(told))) == [seen]


def test_without_the_key_a_signed_audit_is_left_alone_and_that_is_said_once(
    store: Store, audit: AuditWorld
) -> None:
    audit.seal()
    audit.write("one")
    replica = Replica(store, NO_KEYS)
    sealed: list[str] = []
    while not any("REGISTRY_AUDIT_KEY_FILE" in each for each in sealed):
        sealed += events(replica.step())
    assert replica.step() == []
    assert audit.newest().number == 1


def test_that_nothing_happened_is_sealed_from_time_to_time(
    store: Store, audit: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(store)
    replica.step()
    monkeypatch.setattr("agentworkspace.service.audit.sealer.QUIET_SECONDS", -1.0)
    assert events(replica.step()) == ["audit sealed"]
    assert audit.verify(*audit.checkpoints).seals == 2


def test_a_server_that_counts_anew_is_said_once(
    store: Store, audit: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit.seal()
    audit.write("one")
    audit.sql("UPDATE {events} SET xact = xact + 1000000000")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sealing, "_OVER", "true")
        audit.seal(limit=1)
        audit.write("two")
        audit.sql("UPDATE {events} SET xact = xact + 2000000000 WHERE xact < 1000000000")
        replica = Replica(store)
        told = events(replica.step())
        assert any("counts transactions anew" in each for each in told)
        assert replica.step() == []


def test_strangers_cannot_fill_the_memory(store: Store, audit: AuditWorld) -> None:
    rejected = RejectedCredentials()
    for number in range(MOST_ROWS + 5):
        rejected.count(f"192.0.2.{number}", "/x/Y")
    rejected.count("192.0.2.0", "/x/Y")
    counted = rejected.take()
    assert len(counted) == MOST_ROWS + 1
    assert (counted["192.0.2.0", "/x/Y"], counted["elsewhere", ""]) == (2, 5)
    assert rejected.take() == {}
    rejected.write(store, "registry", counted)
    rows = audit.sql("SELECT details ->> 'calls' FROM {events} WHERE subject = 'elsewhere'")
    assert [calls for (calls,) in rows] == ["5"]
