"""Each statement of a recorded call has a span, and none has what was bound to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from agentworkspace.core.secret import Secret
from agentworkspace.service.database import Database
from agentworkspace.service.statement_spans import name_of
from agentworkspace.service.store import Store

PLANTED = "swordfish-0123456789"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def open_store(url: str) -> Store[Connection]:
    return Store(Database(Secret(url), name="test", pool_size=1), Engine.connect)


def attribute(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


def test_every_statement_has_a_span_with_its_text_and_no_value(
    empty_database: str, exported: InMemorySpanExporter
) -> None:
    store = open_store(empty_database)
    executed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        executed.append(statement)

    event.listen(store.database.engine, "before_cursor_execute", note)
    with trace.get_tracer("test").start_as_current_span("call"), store.transaction() as tx:
        tx.execute(text("CREATE TABLE notes (said text)"))
        tx.execute(text("INSERT INTO notes VALUES (:said)"), {"said": PLANTED})
        tx.execute(text("SELECT said FROM notes WHERE said = :said"), {"said": PLANTED})
    spans = [each for each in exported.get_finished_spans() if attribute(each, "db.query.text")]
    assert [attribute(each, "db.query.text") for each in spans] == [*executed, "COMMIT"]
    assert [each.name for each in spans][-3:] == ["INSERT notes", "SELECT notes", "COMMIT"]
    assert PLANTED not in "".join(each.to_json() for each in exported.get_finished_spans())
    store.database.close()


def test_a_statement_that_fails_is_marked_by_its_code_and_not_by_its_text(
    empty_database: str, exported: InMemorySpanExporter
) -> None:
    store = open_store(empty_database)
    with (
        pytest.raises(DBAPIError),
        trace.get_tracer("test").start_as_current_span(
            "call", record_exception=False, set_status_on_exception=False
        ),
        store.reading() as tx,
    ):
        tx.execute(text("SELECT CAST(:said AS integer)"), {"said": PLANTED})
    (failed, _call) = exported.get_finished_spans()
    assert attribute(failed, "error.type") == "22P02"
    assert failed.status.description == "22P02"
    assert PLANTED not in failed.to_json()
    store.database.close()


def test_outside_of_a_recorded_call_there_is_no_span(
    empty_database: str, exported: InMemorySpanExporter
) -> None:
    store = open_store(empty_database)
    with store.transaction() as tx:
        tx.execute(text("SELECT 1"))
    assert exported.get_finished_spans() == ()
    store.database.close()


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("SELECT a, b FROM registry.tokens WHERE x", "SELECT registry.tokens"),
        ("UPDATE provision.workspaces SET a = %(a)s", "UPDATE provision.workspaces"),
        ("EXECUTE known (%(hashes)s::bytea[])", "EXECUTE known"),
        ("SET LOCAL lock_timeout = 5", "SET"),
        ("COMMIT", "COMMIT"),
    ],
)
def test_a_span_is_named_by_what_is_done_to_which_table(statement: str, name: str) -> None:
    assert name_of(statement) == name
