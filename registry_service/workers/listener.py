"""Listens for notifications of PostgreSQL, and wakes the feed when any replica revoked something.

A notification is only a hint: the feed also reads every second, so a lost one costs a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg2
import structlog

from agentworkspace.service.connecting import Connector, Link, reconnecting
from agentworkspace.service.connection_faults import why
from agentworkspace.service.database import Database

CHANNEL: Final = "registry_revocations"


class Listener:
    """Keeps one connection for LISTEN. `connector` must lead to PostgreSQL itself, because a pooler
    in transaction mode supports no LISTEN.

    When anybody finds that `database` is lost, this connection is made anew as well.
    """

    def __init__(
        self, connector: Connector, database: Database, *, wake: Callable[[], None]
    ) -> None:
        self._connector = connector
        self._database = database
        self._wake = wake
        self._lost = asyncio.Event()
        self._log = structlog.get_logger("registry.listener")

    async def run(self) -> None:
        """Listen for ever; a lost connection is made again, after growing pauses."""
        loop = asyncio.get_running_loop()

        def lost() -> None:
            with suppress(RuntimeError):  # the loop has ended, and the listener with it
                loop.call_soon_threadsafe(self._lost.set)

        self._database.on_lost(lost)
        pauses = reconnecting()
        while True:
            self._lost.clear()
            try:
                link = await self._database.connecting.run(self._connect)
            except psycopg2.Error as fault:
                tell = self._log.debug if pauses.began else self._log.warning
                tell(
                    "no connection on which PostgreSQL could tell of other replicas' revocations;"
                    " until there is one they are read every second",
                    why=why(fault, "registry"),
                )
            else:
                pauses.reset()
                self._log.debug("listening")
                try:
                    self._wake()  # whatever came while nobody listened
                    await self._until_lost(link)
                finally:
                    link.close()
                self._log.warning(
                    "the connection on which PostgreSQL tells of other replicas' revocations was"
                    " lost and is made again; meanwhile they are read every second"
                )
            await asyncio.sleep(pauses.seconds())

    def _connect(self) -> Link:
        link = self._connector.connect(purpose="listener")
        link.autocommit = True
        with link.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        return link

    async def _until_lost(self, connection: Link) -> None:
        loop = asyncio.get_running_loop()

        def readable() -> None:
            try:
                connection.poll()
            except psycopg2.Error:
                self._lost.set()
                self._database.lost(connection)
                return
            if connection.notifies:
                connection.notifies.clear()
                self._wake()

        descriptor = connection.fileno()
        loop.add_reader(descriptor, readable)
        try:
            await self._lost.wait()
        finally:
            loop.remove_reader(descriptor)
