"""LISTEN on a connection of its own: wakes the feed when another replica has revoked something.

Only a hint: the feed also asks every second, so a lost notification costs a second at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import psycopg2
import psycopg2.extensions
import structlog

from agentworkspace.core.secret import Secret

CHANNEL: Final = "registry_revocations"
CONNECT_SECONDS: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0


class Listener:
    """`url` must lead to PostgreSQL itself: a pooler in transaction mode carries no LISTEN."""

    def __init__(self, url: Secret, *, wake: Callable[[], None]) -> None:
        self._url = url
        self._wake = wake
        self._log = structlog.get_logger("registry.listener")

    async def run(self) -> None:
        """Listen for ever; a lost connection is made again after a pause that grows."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = await asyncio.to_thread(self._connect)
            except psycopg2.Error as fault:
                # The text may quote the URL.
                self._log.warning("cannot listen, polling goes on", fault=type(fault).__name__)
            else:
                pause = FIRST_PAUSE_SECONDS
                self._log.debug("listening")
                try:
                    self._wake()  # whatever came while nobody listened
                    await self._until_lost(connection)
                finally:
                    connection.close()
                self._log.warning("lost the listening connection, polling goes on")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _connect(self) -> psycopg2.extensions.connection:
        dsn = self._url.reveal().replace("postgresql+psycopg2://", "postgresql://", 1)
        connection = psycopg2.connect(
            dsn,
            connect_timeout=CONNECT_SECONDS,
            application_name="registry-service listener",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        return connection

    async def _until_lost(self, connection: psycopg2.extensions.connection) -> None:
        loop = asyncio.get_running_loop()
        lost = asyncio.Event()

        def readable() -> None:
            try:
                connection.poll()
            except psycopg2.Error:
                lost.set()
                return
            if connection.notifies:
                connection.notifies.clear()
                self._wake()

        descriptor = connection.fileno()
        loop.add_reader(descriptor, readable)
        try:
            await lost.wait()
        finally:
            loop.remove_reader(descriptor)
