"""The database of a process: all its connections, which are given up when the server is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DisconnectionError

from agentworkspace.core import tracing
from agentworkspace.core.secret import Secret
from agentworkspace.service.connecting import Connector, Link
from agentworkspace.service.prepared import remember_plans
from agentworkspace.service.statement_spans import StatementSpans
from agentworkspace.service.store_faults import ends_connection
from agentworkspace.service.thread_pool import BlockingPool

_POOL_SECONDS: Final = 5
# An execution option of a connection: a list of at most one SQL text, which is sent in front of its
# next statement and removed.
OPENING: Final = "agentworkspace_opening"
_DRIVER: Final = "postgresql+psycopg2://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Time limits that PostgreSQL enforces itself, so that no lost client keeps a lock."""

    statement: timedelta = timedelta(seconds=15)
    lock: timedelta = timedelta(seconds=15)
    idle_in_transaction: timedelta = timedelta(seconds=10)

    def within(self, seconds: float) -> Limits:
        """These limits, with at most this many seconds for each statement and lock."""
        budget = timedelta(seconds=seconds)
        return Limits(
            statement=min(self.statement, budget),
            lock=min(self.lock, budget),
            idle_in_transaction=self.idle_in_transaction,
        )

    def settings(self) -> Mapping[str, int]:
        """The settings of PostgreSQL, in milliseconds; never 0, which would mean no limit."""
        return {
            "statement_timeout": _milliseconds(self.statement),
            "lock_timeout": _milliseconds(self.lock),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction),
        }


class Database:
    """The connection pool of a process, and its connections beside the pool.

    `pooled`: the URL leads to a pooler in transaction mode, which takes no settings with a
    connection; a store then sets the limits in every transaction.
    """

    def __init__(
        self,
        url: Secret,
        *,
        name: str,
        pool_size: int,
        pooled: bool = False,
        limits: Limits | None = None,
    ) -> None:
        """Connects when first used. ValueError when the URL is malformed."""
        self.limits = limits or Limits()
        self.pooled = pooled
        self.pool_size = pool_size
        self.connector = Connector(url, name=name)
        self._settings: Mapping[str, object] = {
            **self.limits.settings(),
            "timezone": "UTC",
            # The statements are short; compiling one costs more than it could save.
            "jit": "off",
        }
        self._of_pool = {
            **self._settings,
            # To plan one of the large prepared statements takes longer than to run it. Each is
            # written so that one plan serves for any parameters; ANALYZE has it planned anew.
            "plan_cache_mode": "force_generic_plan",
        }
        # Threads for connecting, for what keeps connections of its own on the event loop.
        self.connecting = BlockingPool(threads=2, max_waiting=100, name="connect")
        self._lock = threading.Lock()
        self._told: list[Callable[[], None]] = []
        self.engine = create_engine(
            _DRIVER,
            creator=self._connect_for_pool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
            pool_use_lifo=True,
            hide_parameters=True,
        )
        self._pool: Any = self.engine.pool
        self.spans = StatementSpans(tracing.recorder())
        self.spans.watch(self.engine)
        event.listen(self.engine, "handle_error", self._note)
        event.listen(self.engine, "checkout", self._refuse_stale)
        event.listen(self.engine, "before_cursor_execute", _sent_together, retval=True)
        if not pooled:
            remember_plans(self.engine)

    def connect(
        self,
        settings: Mapping[str, object] | None = None,
        *,
        purpose: str,
        asynchronous: bool = False,
        at_once: bool = False,
    ) -> Link:
        """A connection beside the pool, with the same limits, which the caller closes."""
        chosen = {} if self.pooled else {**self._settings, **(settings or {})}
        return self.connector.connect(
            chosen, purpose=purpose, asynchronous=asynchronous, at_once=at_once
        )

    def on_lost(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, on any thread, whenever all connections so far are to be given up."""
        self._told.append(tell)

    @property
    def open_connections(self) -> int:
        """How many connections are open, of all kinds."""
        return len(self.connector.open_links())

    @property
    def in_use(self) -> int:
        """How many connections of the pool are checked out."""
        count: int = self._pool.checkedout()
        return count

    @property
    def losses(self) -> int:
        """How often the server was lost."""
        return self.connector.generation

    def lost(self, link: object = None) -> None:
        """Note that a connection showed that its server is gone or takes no writes any more.

        Every connection that is as old is then given up when it is next taken from the pool.
        Without a `link` all connections so far are.
        """
        with self._lock:
            known = isinstance(link, Link) and link.generation < self.connector.generation
            if known:
                return
            self.connector.generation += 1
        for tell in self._told:
            tell()

    def cut_off(self) -> None:
        """Break all connections, so that whoever waits for the server fails at once."""
        self.lost()
        for link in self.connector.open_links():
            link.cut()

    def close(self) -> None:
        self.engine.dispose()

    def _connect_for_pool(self) -> Link:
        return self.connector.connect({} if self.pooled else self._of_pool)

    def _note(self, context: Any) -> None:
        """Treat a read-only server as lost; SQLAlchemy itself would keep the connection."""
        if ends_connection(context.original_exception):
            context.is_disconnect = True
        if context.is_disconnect and context.connection is not None:
            self.lost(context.connection.connection.dbapi_connection)

    def _refuse_stale(self, link: Link, *_: object) -> None:
        if link.generation < self.connector.generation:
            raise DisconnectionError("made before the server was lost")


def _sent_together(
    connection: Connection, _: object, statement: str, parameters: Any, *__: object
) -> tuple[str, Any]:
    """Send what a transaction begins with in front of its first statement: one round trip less."""
    waiting: list[str] | None = connection.get_execution_options().get(OPENING)
    return (f"{waiting.pop()}; {statement}" if waiting else statement), parameters


@contextmanager
def open_once(url: Secret, *, name: str) -> Iterator[Engine]:
    """An engine for one piece of work, without a pool; its user sets the time limits."""
    connector = Connector(url, name=name)
    engine = create_engine(
        _DRIVER, creator=connector.connect, poolclass=NullPool, hide_parameters=True
    )
    try:
        yield engine
    finally:
        engine.dispose()


def _milliseconds(span: timedelta) -> int:
    return max(1, span // timedelta(milliseconds=1))
