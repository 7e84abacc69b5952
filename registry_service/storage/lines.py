"""Lean statements awaited on the event loop, each on a connection of its own.

A statement that takes a tenth of a millisecond is not worth a thread: handing the interpreter
over and back costs several times as much. Only reading statements that stand alone belong here;
whoever gets LineDown asks the same on a thread, which has all the time limits and translations.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Mapping
from typing import Any, Final

import psycopg2
import structlog
from psycopg2 import extensions

from agentworkspace.core.secret import Secret
from registry_service.storage.engine import CONNECT_TIMEOUT_SECONDS, driver_arguments
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
        self._open = 0
        self._free: list[_Line] = []
        self._log = structlog.get_logger("registry.lines")

    @property
    def are_down(self) -> bool:
        """There is none at all: who would have to ask a thread need not wait for a turn here."""
        return self._open == 0

    async def ask(self, parameters: Mapping[str, Any]) -> Rows:
        """The rows of the answer. LineDown when there is none to be had this way.

        A caller that is cancelled costs its line, which is made again; coalescers never are.
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
            except Exception as fault:  # noqa: BLE001 - whatever it is, threads ask meanwhile
                # The text may quote the URL.
                self._log.warning("no line, threads ask instead", fault=type(fault).__name__)
            else:
                pause = FIRST_PAUSE_SECONDS
                await self._hold(_Line(connection, self._statement, self._patience_seconds))
                self._log.warning("lost a line, threads ask instead")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _hold(self, line: _Line) -> None:
        """Offer it until it is lost."""
        self._free.append(line)
        self._open += 1
        try:
            await line.lost.wait()
        finally:
            self._open -= 1
            if line in self._free:
                self._free.remove(line)
            line.lose()

    def _connect(self) -> extensions.connection:
        """On a thread: looking up the host's name blocks."""
        connection: extensions.connection = psycopg2.connect(
            **driver_arguments(self._url.reveal()), async_=True
        )
        try:
            _wait(connection)
            with connection.cursor() as cursor:
                # With parameters, though there are none, a % means what it does on a thread.
                cursor.execute(self._statement.prepare, {})
                _wait(connection)
        except BaseException:
            connection.close()
            raise
        return connection


class _Line:
    """One connection, which answers one question at a time."""

    def __init__(
        self, connection: extensions.connection, statement: Prepared, patience_seconds: float
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
        late = self._loop.call_later(self._patience_seconds, self.lose)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(self._statement.execute, dict(parameters))
                self._answered = self._loop.create_future()
                self._advance()
                await self._answered
                return cursor.fetchall()
        except psycopg2.Error as fault:
            self.lose()
            raise LineDown from fault
        except BaseException:
            self.lose()  # half asked or half read: nobody else may have it
            raise
        finally:
            late.cancel()
            self._answered = None

    def lose(self) -> None:
        """For good. Twice is once: the descriptor may be another connection's by then."""
        if self.lost.is_set():
            return
        self.lost.set()
        # By its number: libpq has closed that of a broken connection itself.
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._connection.close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(LineDown())

    def _advance(self) -> None:
        """Send what is left of the question, or read what came of the answer."""
        try:
            state = self._connection.poll()
        except psycopg2.Error:
            self.lose()
            return
        writing = state == extensions.POLL_WRITE
        if writing != self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self._descriptor, self._advance)
            else:
                self._loop.remove_writer(self._descriptor)
        if state == extensions.POLL_OK and self._answered and not self._answered.done():
            self._answered.set_result(None)


def _wait(connection: extensions.connection) -> None:
    """Until what was begun is done. psycopg2's own waits for ever, and knows no descriptor
    beyond 1023.
    """
    while (state := connection.poll()) != extensions.POLL_OK:
        poller = select.poll()  # a new one: the descriptor changes from host to host
        poller.register(
            connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        )
        if not poller.poll(CONNECT_TIMEOUT_SECONDS * 1000):
            raise psycopg2.OperationalError("the server does not answer")
