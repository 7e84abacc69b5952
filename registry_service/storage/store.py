"""Transactions. A command opens exactly one, and every fault inside it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from registry_service.storage.engine import STATEMENT_TIMEOUT, make_engine, milliseconds


class CommitUnknown(Exception):
    """The connection broke while committing: nobody knows whether the change was made."""


class Store:
    """The database, seen as transactions.

    Without a `budget` the time limit of the connection holds, at no cost; with one, each
    transaction first sets its own, which takes a round trip.
    """

    def __init__(self, engine: Engine, *, budget: timedelta | None = None) -> None:
        self._engine = engine
        self._budget = budget

    @classmethod
    def open(
        cls,
        url: str,
        *,
        pool_size: int = 8,
        pooled: bool = False,
        statement_timeout: timedelta = STATEMENT_TIMEOUT,
    ) -> Self:
        """Connects when first used. ValueError when the URL is malformed."""
        engine = make_engine(
            url, pool_size=pool_size, pooled=pooled, statement_timeout=statement_timeout
        )
        return cls(engine, budget=statement_timeout if pooled else None)

    def within(self, budget: timedelta) -> Store:
        """The same database with at most this much time for each statement."""
        return Store(self._engine, budget=budget)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit at the end, or roll back on an exception. CommitUnknown when that is unclear."""
        with self._engine.connect() as connection:
            self._limit(connection)
            yield connection
            try:
                connection.commit()
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise CommitUnknown from error
                raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Roll back at the end, always: what only reads cannot write by accident."""
        with self._engine.connect() as connection:
            self._limit(connection)
            try:
                yield connection
            finally:
                # A connection that broke has nothing left to roll back.
                if not connection.invalidated:
                    connection.rollback()

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """For one reading statement: without a transaction, which would cost two round trips
        more. With a budget there must be one, to hold the time limit.
        """
        if self._budget is not None:
            with self.reading() as connection:
                yield connection
            return
        with self._engine.connect() as connection:
            # The driver's own switch: SQLAlchemy's costs what it is there to save.
            driver: Any = connection.connection.driver_connection
            driver.autocommit = True
            try:
                yield connection
            finally:
                if not connection.invalidated:
                    connection.rollback()
                    driver.autocommit = False

    def close(self) -> None:
        self._engine.dispose()

    def _limit(self, connection: Connection) -> None:
        if self._budget is not None:
            limit = milliseconds(self._budget)
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {limit}")
