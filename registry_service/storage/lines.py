"""Lines: database connections that the event loop itself waits for, for quick statements.

A statement of a tenth of a millisecond is not worth a thread: handing the interpreter over and back
costs several times as much. Only single statements that read may be run here. Whoever gets LineDown
runs the same on a thread, where time limits apply and faults are translated.
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

# A line that has not answered for so long is given up, and the caller asks on a thread.
PATIENCE_SECONDS: Final = 2.0
# A line keeps its first plan for ever. So that plan must not read a whole table, even one that was
# small at the time; and the parts of a UNION ALL must come in the order in which they are written.
PLANS: Final = {"enable_seqscan": "off", "max_parallel_workers_per_gather": 0}

Rows = list[tuple[Any, ...]]


class LineDown(Exception):
    """There is no answer: no line is free, or the one that was asked broke."""


class Lines:
    """Keeps `count` lines open while `run` runs, and makes lost ones again.

    The database's URL must lead to PostgreSQL itself: a pooler keeps no statement prepared.
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
        """Whether no line is open at all, so that a caller can go to a thread without waiting."""
        return self._open == 0

    async def ask(self, statement: Prepared, parameters: Mapping[str, Any]) -> Rows:
        """The rows of one of the prepared statements. Raises LineDown when no line can answer.

        If the caller is cancelled its line has to be made again; coalescers are never cancelled.
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
        """Keep the lines open for ever. When anybody finds that the server is lost, all are made
        anew: a line only reads, and would never notice that its server is no longer the primary.
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
        """Offer this line to callers until it is lost."""
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
        """Connect and prepare. Runs on a thread, because looking up the host's name blocks."""
        link = self._database.connect(PLANS, purpose="line", asynchronous=True)
        try:
            with link.cursor() as cursor:
                for statement in self._statements:
                    # With parameters, even none, psycopg2 reads a % as it does on a thread.
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
            self.lose()  # half asked or half read, so nobody else can use it
            raise
        finally:
            late.cancel()
            self._answered = None
            if self._retired:
                self.lose()

    def retire(self) -> None:
        """Close the line, at once or as soon as the question that it is being asked is over."""
        self._retired = True
        if self._answered is None:
            self.lose()

    def lose(self) -> None:
        """Close the line for good. A second call does nothing, because the descriptor may belong to
        another connection by then.
        """
        if self.lost.is_set():
            return
        self.lost.set()
        # By the number kept from the start: libpq has closed a broken connection's descriptor.
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._connection.close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(LineDown())

    def _advance(self) -> None:
        """Send what is left of the question, or read what has arrived of the answer."""
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
