"""The store: transactions with a time limit, and the keys of what lies in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from provision_service.storage import faults
from provision_service.storage.encryption import Fingerprints, Vault

DEFAULT_LIMIT_SECONDS: Final = 30.0
# For what has to be written although the time of its call is over.
EPILOGUE_SECONDS: Final = 5.0
_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
_UNHURRIED: Final = "SET LOCAL synchronous_commit = off; "


def _default_limit() -> float:
    return DEFAULT_LIMIT_SECONDS


class Store:
    """Transactions of one deployment. Cheap to copy: `within` gives one with a deadline."""

    def __init__(
        self,
        engine: Engine,
        vault: Vault,
        fingerprints: Fingerprints,
        remaining: Callable[[], float] = _default_limit,
    ) -> None:
        self.engine = engine
        self.vault = vault
        self.fingerprints = fingerprints
        self._remaining = remaining

    def within(self, remaining: Callable[[], float]) -> Store:
        """The same store for one call, which may use `remaining()` seconds from now."""
        return Store(self.engine, self.vault, self.fingerprints, remaining)

    def after_the_call(self) -> Store:
        """The same store for the little that must be written even when the call's time is over:
        what would otherwise stand in the way of others until a lease runs out.
        """
        return self.within(lambda: EPILOGUE_SECONDS)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that commits at the end, unless something is raised."""
        connection = self._begin("")
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()

    @contextmanager
    def noting(self) -> Iterator[Connection]:
        """As `writing`, for what does no harm if a crash of the database forgets it: the commit
        does not wait for the disk.
        """
        connection = self._begin(_UNHURRIED)
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot for all its reads; it always rolls back."""
        connection = self._begin(_SNAPSHOT)
        try:
            yield connection
        finally:
            connection.close()

    def _begin(self, mode: str) -> Connection:
        """A connection inside a transaction. The first statement sets the time limit and
        proves the connection: a stale one is replaced before any work is lost with it.
        """
        remaining = self._remaining()
        if remaining <= 0:
            raise faults.deadline()
        limit_ms = max(1, math.ceil(min(remaining, DEFAULT_LIMIT_SECONDS) * 1000))
        opening = (
            f"{mode}SET LOCAL statement_timeout = {limit_ms}; SET LOCAL lock_timeout = {limit_ms}"
        )
        try:
            return self._open(opening)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return self._open(opening)

    def _open(self, opening: str) -> Connection:
        connection = self.engine.connect()
        try:
            connection.exec_driver_sql(opening)
        except BaseException:
            connection.close()
            raise
        return connection
