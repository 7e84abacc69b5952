"""Finds out whether the database takes writes, by making one every second, and tells health."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg2
import structlog

from agentworkspace.service.connecting import Link
from agentworkspace.service.connection_faults import why
from agentworkspace.service.database import Database
from agentworkspace.service.store_faults import ends_connection
from agentworkspace.service.thread_pool import BlockingPool

EVERY_SECONDS: Final = 1.0
# When no write succeeded for so long, health says NOT_SERVING.
LATE_SECONDS: Final = 3.0
# When a write has no answer for so long, all connections are cut. A server that is there ends the
# statement itself long before. Only a commit can hang longer, with its disk, and calls that wait
# for one should not be cut off too soon.
PATIENCE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 1.0
# Locking a row is a write: it takes a transaction id, and a commit that reaches the disk (and the
# replicas, where commits wait for them). It blocks nobody and adds nothing to the table.
_WRITE: Final = (
    "SET LOCAL statement_timeout = 2000; SET LOCAL lock_timeout = 1000;"
    " SELECT FROM {schema}.alembic_version FOR NO KEY UPDATE SKIP LOCKED"
)


class WriteWatch:
    """Has health say SERVING once the service is ready and for as long as writes succeed.

    `tell` sets health. It has a connection and a thread of its own, so that a heavy load of calls
    is not mistaken for a dead server.
    """

    def __init__(
        self, database: Database, schema: str, *, tell: Callable[[bool], Awaitable[None]]
    ) -> None:
        self._database = database
        self._schema = schema
        self._statement = _WRITE.format(schema=schema)
        self._tell = tell
        self._pool = BlockingPool(threads=1, max_waiting=1, name="write-watch")
        self._link: Link | None = None
        self._waits_for_answer = False
        self._last_write = 0.0
        self._log = structlog.get_logger(schema)
        self._is_ready = False
        self._told = False
        self._reported = False
        self.takes_writes = False

    async def ready(self) -> None:
        """Note that everything else that serving needs is there. May be called twice."""
        self._is_ready = True
        await self._tell_health()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._try(stopping)
                await asyncio.wait({stopping}, timeout=EVERY_SECONDS)
        finally:
            stopping.cancel()
            await self._pool.end(0.0)

    async def _try(self, stopping: asyncio.Task[bool]) -> None:
        """Make one write. While it has no answer, health is updated all the same."""
        clock = asyncio.get_running_loop().time
        writing = asyncio.create_task(self._pool.run(self._write))
        cut_off_at = clock() + PATIENCE_SECONDS
        while not (writing.done() or stopping.done()):
            await asyncio.wait(
                {writing, stopping},
                timeout=_LOOK_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if writing.done():
                await self._note(writing.exception())
            elif not stopping.done():
                await self._note(TimeoutError())
                if self._waits_for_answer and clock() >= cut_off_at:
                    self._database.cut_off()
        # A write that still runs ends by itself, or when the connections are cut at the end.
        writing.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _note(self, fault: BaseException | None) -> None:
        now = asyncio.get_running_loop().time()
        if fault is None:
            self._last_write = now
            self.takes_writes = True
            self._reported = False
        elif not self.takes_writes or now - self._last_write >= LATE_SECONDS:
            self.takes_writes = False
            if not self._reported:
                self._reported = True
                self._log.warning("the database takes no writes", why=why(fault, self._schema))
        await self._tell_health()

    async def _tell_health(self) -> None:
        serving = self._is_ready and self.takes_writes
        if serving != self._told:
            self._told = serving
            await self._tell(serving)
            self._log.info("serving" if serving else "not serving")

    def _write(self) -> None:
        """Write once. Raises psycopg2.Error from a server that is read-only, stuck or gone."""
        link = self._usable()
        self._waits_for_answer = True
        try:
            with link, link.cursor() as cursor:
                cursor.execute(self._statement)
        except psycopg2.Error as fault:
            if ends_connection(fault):
                self._database.lost(link)
                link.close()
            raise
        finally:
            self._waits_for_answer = False

    def _usable(self) -> Link:
        link = self._link
        if link is not None and not link.closed:
            if link.generation == self._database.losses:
                return link
            link.close()
        self._link = self._database.connect(purpose="health", at_once=True)
        return self._link
