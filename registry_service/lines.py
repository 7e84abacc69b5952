"""Lean statements awaited on the event loop, each on a connection of its own.

A statement that takes a tenth of a millisecond is not worth a thread: handing the interpreter
over and back costs several times as much. Only reading statements that stand alone belong here;
whoever gets LineDown asks the same on a thread, which has all the time limits and translations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import psycopg2
import psycopg2.extensions
import structlog
from psycopg2.extras import wait_select

from registry_service.domain.secret import Secret
from registry_service.storage.engine import driver_arguments
from registry_service.storage.prepared import Prepared

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0
# A line that says nothing for so long is given up, and the question asked on a thread.
PATIENCE_SECONDS: Final = 2.0

Rows = list[tuple[Any, ...]]


class LineDown(Exception):
    """No line is free, or the one that was asked broke. Nothing is known of the answer."""


class Lines:
    """`count` connections, made again whenever they are lost. Ask once `run` is running.

    `url` must lead to PostgreSQL itself: through a pooler no statement stays prepared.
    """

    def __init__(
        self,
        url: Secret,
        statement: Prepared,
        *,
        count: int,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._url = url
        self._statement = statement
        self._count = count
        self._patience_seconds = patience_seconds
        self._free: list[_Line] = []
        self._log = structlog.get_logger("registry.lines")

    async def ask(self, parameters: Mapping[str, Any]) -> Rows:
        """The rows of the answer. LineDown when there is none to be had this way.

        Not to be cancelled: the answer would come to whoever asks next. Coalescers never do.
        """
        if not self._free:
            raise LineDown
        line = self._free.pop()
        rows = await line.ask(parameters)
        self._free.append(line)
        return rows

    async def run(self) -> None:
        """Keep the lines open for ever."""
        await asyncio.gather(*(self._keep() for _ in range(self._count)))

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = await asyncio.to_thread(self._connect)
            except psycopg2.Error as fault:
                # The text may quote the URL.
                self._log.warning("no line, threads ask instead", fault=type(fault).__name__)
            else:
                pause = FIRST_PAUSE_SECONDS
                line = _Line(connection, self._statement, self._patience_seconds)
                self._free.append(line)
                try:
                    await line.lost.wait()
                finally:
                    if line in self._free:
                        self._free.remove(line)
                    line.close()
                self._log.warning("lost a line, threads ask instead")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _connect(self) -> psycopg2.extensions.connection:
        """On a thread: looking up the host's name blocks."""
        connection: psycopg2.extensions.connection = psycopg2.connect(
            **driver_arguments(self._url.reveal()), async_=True
        )
        try:
            wait_select(connection)
            with connection.cursor() as cursor:
                cursor.execute(self._statement.prepare)
                wait_select(connection)
        except BaseException:
            connection.close()
            raise
        return connection


class _Line:
    """One connection, which answers one question at a time."""

    def __init__(
        self,
        connection: psycopg2.extensions.connection,
        statement: Prepared,
        patience_seconds: float,
    ) -> None:
        self.lost = asyncio.Event()
        self._connection = connection
        self._statement = statement
        self._patience_seconds = patience_seconds
        self._loop = asyncio.get_running_loop()
        self._descriptor = connection.fileno()
        self._answered: asyncio.Future[None] | None = None
        self._writing = False
        self._loop.add_reader(self._descriptor, self._advance)

    async def ask(self, parameters: Mapping[str, Any]) -> Rows:
        answered = self._answered = self._loop.create_future()
        late = self._loop.call_later(self._patience_seconds, self._lose)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(self._statement.execute, dict(parameters))
                self._advance()
                await answered
                return cursor.fetchall()
        except psycopg2.Error as fault:
            self._lose()
            raise LineDown from fault
        finally:
            late.cancel()
            self._answered = None

    def close(self) -> None:
        if not self._connection.closed:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._connection.close()

    def _advance(self) -> None:
        """Send what is left of the question, or read what came of the answer."""
        try:
            state = self._connection.poll()
        except psycopg2.Error:
            self._lose()
            return
        writing = state == psycopg2.extensions.POLL_WRITE
        if writing != self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self._descriptor, self._advance)
            else:
                self._loop.remove_writer(self._descriptor)
        if state == psycopg2.extensions.POLL_OK and self._answered and not self._answered.done():
            self._answered.set_result(None)

    def _lose(self) -> None:
        self.close()
        self.lost.set()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(LineDown())
