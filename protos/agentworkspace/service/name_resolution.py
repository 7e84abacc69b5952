"""Resolves host names within a time limit, and applies the rule for urls to their addresses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from agentworkspace.core import public_urls
from agentworkspace.core.public_urls import Address, parse_destination
from agentworkspace.core.refusal import Refusal

# Returns the addresses of a host; OSError when it has none, or they cannot be found out.
AskForAddresses = Callable[[str], list[Address]]

SECONDS: Final = 2.0
THREADS: Final = 16
MOST_FLIGHTS: Final = 1024
_MAX_ADDRESSES: Final = 64


def ask_system(host: str) -> list[Address]:
    """The addresses by the system's resolver, which reads the hosts file too. It may block long."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ip_address(text) for text in list(texts)[:_MAX_ADDRESSES]]


class Names:
    """Resolves names for one event loop, on threads of its own.

    A name server that never answers blocks one of these threads and nothing else; while all are
    blocked, other names count as unknown after `seconds`. They are daemon threads, so that the end
    of the process does not wait for a name server.
    """

    def __init__(
        self,
        *,
        ask: AskForAddresses = ask_system,
        seconds: float = SECONDS,
        threads: int = THREADS,
        most_flights: int = MOST_FLIGHTS,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._threads = threads
        self._most_flights = most_flights
        self._flights: dict[str, asyncio.Future[list[Address]]] = {}
        self._queue: deque[tuple[str, float]] = deque()
        self._running = 0

    async def addresses(self, host: str) -> list[Address]:
        """The addresses of the name now; empty when it has none, or the answer took too long.

        Those who ask for the same name at the same time share one look-up.
        """
        flight = self._flights.get(host)
        if flight is None:
            if len(self._flights) >= self._most_flights:
                return []
            flight = self._flights[host] = asyncio.get_running_loop().create_future()
            self._queue.append((host, time.monotonic() + self._seconds))
            self._start()
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(flight)
        except TimeoutError:
            return []

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and self._running < self._threads:
            host, until = self._queue.popleft()
            if until <= time.monotonic():  # nobody waits for it any more
                self._flights.pop(host).set_result([])
                continue
            thread = threading.Thread(
                target=self._fly, args=(loop, host), name="name-resolution", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the machine has no thread left
                self._flights.pop(host).set_result([])
                continue
            self._running += 1

    def _fly(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        try:
            found = self._ask(host)
        except (OSError, ValueError):  # a UnicodeError is a ValueError
            found = []
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(self._land, host, found)

    def _land(self, host: str, found: list[Address]) -> None:
        self._running -= 1
        self._flights.pop(host).set_result(found)
        self._start()


class PublicUrls:
    """Applies the rule for urls that agents announce, host names included.

    Nothing here blocks the loop or a thread of the callers.
    """

    def __init__(self, names: Names, *, allow_private: bool) -> None:
        self._names = names
        self._allow_private = allow_private

    def host_to_ask_about(self, url: str, field: str) -> str | None:
        """The host of a url that must be resolved; None when there is no need to.

        Raises URL_FORBIDDEN when that can be told without a name server. None also for a malformed
        url, which was refused when the request was parsed.
        """
        destination = parse_destination(url)
        if isinstance(destination, str):
            return None
        public_urls.refuse_at_sight(destination, allow_private=self._allow_private, field=field)
        return destination.host if destination.address is None else None

    async def resolves(self, host: str, field: str) -> bool:
        """Whether the name has an address now. URL_FORBIDDEN when any of them is forbidden."""
        found = await self._names.addresses(host)
        public_urls.refuse_addresses(host, found, allow_private=self._allow_private, field=field)
        return bool(found)

    async def refusal_of(self, url: str, field: str) -> Refusal | None:
        """The refusal of this url, also when its name does not resolve; None if it is allowed."""
        try:
            host = self.host_to_ask_about(url, field)
            if host is None or await self.resolves(host, field):
                return None
        except Refusal as refusal:
            return refusal
        return public_urls.unresolved(host, field)
