"""Lean statements awaited on the event loop, each on a connection of its own.

A statement that takes a tenth of a millisecond is not worth a thread: handing the interpreter
over and back costs several times as much. Only reading statements that stand alone belong here;
whoever gets LineDown asks the same on a thread, which has all the time limits and translations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg2
import structlog
from psycopg2 import extensions

from agentworkspace.service.connecting import Link, finish, reconnecting
from agentworkspace.service.connection_faults import why
from agentworkspace.service.database import Database
from agentworkspace.service.prepared import Prepared
from agentworkspace.service.store_faults import ends_connection

# A line that says nothing for so long is given up, and the question asked on a thread.
PATIENCE_SECONDS: Final = 2.0
# A line keeps the plan that it made first, so that must never be one that reads a whole table,
# however small that was; and the parts of a UNION ALL must come in the order they are written in.
PLANS: Final = {"enable_seqscan": "off", "max_parallel_workers_per_gather": 0}

Rows = list[tuple[Any, ...]]


class LineDown(Exception):
    """No line is free, or the one that was asked broke. Nothing is known of the answer."""


class Lines:
    """`count` connections, made again whenever they are lost. Ask once `run` is running.

    The URL must lead to PostgreSQL itself: through a pooler no statement stays prepared.
    """

    def __init__(
        self,
        database: Database,
        statements: Sequence[Prepared],
        *,
        count: int,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._database = database
        self._statements = statements
        self._count = count
        self._patience_seconds = patience_seconds
        self._open = 0
        self._free: list[_Line] = []
        self._all: set[_Line] = set()
        self._log = structlog.get_logger("registry.lines")

    @property
    def open_now(self) -> int:
        return self._open

    @property
    def are_down(self) -> bool:
        """There is none at all: who would have to ask a thread need not wait for a turn here."""
        return self._open == 0

    async def ask(self, statement: Prepared, parameters: Mapping[str, Any]) -> Rows:
        """The rows that one of the statements answers. LineDown when none can be had this way.

        A caller that is cancelled costs its line, which is made again; coalescers never are.
        """
        if not self._free:
            raise LineDown
        line = self._free.pop()
        with self._database.spans.of(statement.execute):
            rows = await line.ask(statement, parameters)
        if not line.lost.is_set():
            self._free.append(line)
        return rows

    async def run(self) -> None:
        """Keep the lines open for ever. All are made anew when the server is lost, whoever
        noticed: one that only reads would go on with a server that is not the primary any more.
        """
        loop = asyncio.get_running_loop()

        def lost() -> None:
            with suppress(RuntimeError):  # the loop has ended, and the lines with it
                loop.call_soon_threadsafe(self._renew)

        self._database.on_lost(lost)
        await asyncio.gather(*(self._keep() for _ in range(self._count)))

    async def _keep(self) -> None:
        pauses = reconnecting()
        while True:
            try:
                link = await self._database.connecting.run(self._connect)
            except Exception as fault:  # noqa: BLE001 - whatever it is, threads ask meanwhile
                tell = self._log.debug if pauses.began else self._log.warning
                tell(
                    "no direct connection for quick checks; they go the slower way through the pool"
                    " until there is one",
                    why=why(fault, "registry"),
                )
                await asyncio.sleep(pauses.seconds())
                continue
            pauses.reset()
            line = _Line(link, self._patience_seconds)
            await self._hold(line)
            if line.broke:
                self._database.lost(link)
            self._log.warning(
                "a direct connection for quick checks was lost and is made again; meanwhile they go"
                " the slower way through the pool"
            )
            await asyncio.sleep(pauses.seconds())

    async def _hold(self, line: _Line) -> None:
        """Offer it until it is lost."""
        self._free.append(line)
        self._all.add(line)
        self._open += 1
        try:
            await line.lost.wait()
        finally:
            self._open -= 1
            self._all.discard(line)
            if line in self._free:
                self._free.remove(line)
            line.lose()

    def _renew(self) -> None:
        for line in tuple(self._all):
            line.retire()

    def _connect(self) -> Link:
        """On a thread: looking up the host's name blocks."""
        link = self._database.connect(PLANS, purpose="line", asynchronous=True)
        try:
            with link.cursor() as cursor:
                for statement in self._statements:
                    # With parameters, though there are none, a % means what it does on a thread.
                    cursor.execute(statement.prepare, {})
                    finish(link)
        except BaseException:
            link.close()
            raise
        return link


class _Line:
    """One connection, which answers one question at a time."""

    def __init__(self, connection: Link, patience_seconds: float) -> None:
        self.lost = asyncio.Event()
        # Whether the connection itself failed, which says something about the server.
        self.broke = False
        self._connection = connection
        self._patience_seconds = patience_seconds
        self._loop = asyncio.get_running_loop()
        self._descriptor = connection.fileno()
        self._answered: asyncio.Future[None] | None = None
        self._writing = False
        self._retired = False
        self._loop.add_reader(self._descriptor, self._advance)

    async def ask(self, statement: Prepared, parameters: Mapping[str, Any]) -> Rows:
        late = self._loop.call_later(self._patience_seconds, self.lose)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement.execute, dict(parameters))
                self._answered = self._loop.create_future()
                self._advance()
                await self._answered
                return cursor.fetchall()
        except psycopg2.Error as fault:
            self.broke = self.broke or ends_connection(fault)
            self.lose()
            raise LineDown from fault
        except BaseException:
            self.lose()  # half asked or half read: nobody else may have it
            raise
        finally:
            late.cancel()
            self._answered = None
            if self._retired:
                self.lose()

    def retire(self) -> None:
        """Lose it, unless it is being asked: then the answer, or its patience, ends it."""
        self._retired = True
        if self._answered is None:
            self.lose()

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
        except psycopg2.Error as fault:
            self.broke = ends_connection(fault)
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
