"""The database as transactions, each rolled back on any exception."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from typing import Any, Final, Generic, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from agentworkspace.service.database import OPENING, Database, Limits
from agentworkspace.service.store_faults import OutcomeUnknown, is_lost, out_of_time

# A transaction: a connection, or one that also carries what its statements need.
Tx = TypeVar("Tx", bound=Connection)

_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_IMPATIENT: Final = "SET LOCAL lock_timeout = 200"
_UNHURRIED: Final = "SET LOCAL synchronous_commit = off"
# The time for a write that is made even when the time of its call is over.
EPILOGUE_SECONDS: Final = 5.0
# A deadline is sent to the server only when it is shorter than the connection's limit by this.
_NOT_WORTH_SAYING_SECONDS: Final = 1.0


def _unlimited() -> float:
    return math.inf


class Store(Generic[Tx]):
    """The database, seen as transactions. It is cheap to copy; `within` makes one with a deadline.

    `connect` makes the transaction handle that commands get. With `snapshot`, all statements of one
    `reading` see the database at the same moment. The time limits are set once on a connection;
    what a transaction must set besides (a shorter deadline, any limit through a pooler, the
    snapshot) is sent in front of its first statement.
    """

    def __init__(
        self,
        database: Database,
        connect: Callable[[Engine], Tx],
        *,
        snapshot: bool = False,
    ) -> None:
        self.database = database
        self._connect = connect
        self._snapshot = snapshot
        self._remaining = _unlimited

    def within(self, remaining: Callable[[], float]) -> Self:
        """The same store for one call, which may use `remaining()` seconds from now."""
        hurried = copy(self)
        hurried._remaining = remaining  # noqa: SLF001 - its own
        return hurried

    def at_most(self, span: timedelta) -> Self:
        """The same store, with at most this much time for each statement."""
        return self.within(lambda: min(self._remaining(), span.total_seconds()))

    def after_the_call(self) -> Self:
        """The same store for a short write after the call's time is over, such as to release what
        would otherwise block others until a lease runs out.
        """
        return self.within(lambda: EPILOGUE_SECONDS)

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Commit at the end; roll back on an exception. OutcomeUnknown if the commit broke off."""
        with self._begun() as connection:
            yield connection
            self._commit(connection)

    @contextmanager
    def impatient(self) -> Iterator[Tx]:
        """A transaction of many, who shall not all wait for what one of them meets: a lock that is
        not there in a moment is LOCK_NOT_AVAILABLE.
        """
        with self._begun(_IMPATIENT) as connection:
            yield connection
            self._commit(connection)

    @contextmanager
    def noting(self) -> Iterator[Tx]:
        """A transaction for what may be lost in a crash of the database: its commit does not wait
        for the disk (`synchronous_commit = off`).
        """
        with self._begun(_UNHURRIED) as connection:
            yield connection
            self._commit(connection)

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """A transaction that is always rolled back, so that it cannot write by accident."""
        with self._begun(_SNAPSHOT if self._snapshot else "") as connection:
            yield connection

    @contextmanager
    def glance(self) -> Iterator[Tx]:
        """For one reading statement, in autocommit, which saves the two round trips of BEGIN and
        ROLLBACK. Where limits must be set it is a `reading` after all.
        """
        if self._limits() is not None:
            with self.reading() as tx:
                yield tx
            return
        connection = self._connect(self.database.engine)
        try:
            # Set on the driver, because SQLAlchemy's own isolation level costs as much as it saves.
            driver: Any = connection.connection.driver_connection
            driver.autocommit = True
            yield connection
        finally:
            if not connection.invalidated:
                connection.rollback()
                driver.autocommit = False
            connection.close()

    def _commit(self, connection: Connection) -> None:
        try:
            with self.database.spans.of("COMMIT"):
                connection.commit()
        except DBAPIError as error:
            if is_lost(error):
                raise OutcomeUnknown from error
            raise

    @contextmanager
    def _begun(self, mode: str = "") -> Iterator[Tx]:
        limits = self._limits()
        opening = []
        if limits is not None:
            opening += [f"SET LOCAL {name} = {value}" for name, value in limits.settings().items()]
        if mode:
            opening.append(mode)
        connection = self._connect(self.database.engine)
        try:
            if opening:
                connection.execution_options(**{OPENING: ["; ".join(opening)]})
            yield connection
        finally:
            connection.close()

    def _limits(self) -> Limits | None:
        """The limits to send; None when those of the connection do. DEADLINE when out of time."""
        remaining = self._remaining()
        if remaining <= 0:
            raise out_of_time()
        limits = self.database.limits
        if remaining < limits.statement.total_seconds() - _NOT_WORTH_SAYING_SECONDS:
            return limits.within(remaining)
        return limits if self.database.pooled else None
