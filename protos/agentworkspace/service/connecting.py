"""Connections to PostgreSQL that insist on a writable server and notice when it is gone.

By the parameters below, libpq refuses a standby (`target_session_attrs`), and gives up a peer that
does not acknowledge within 5 s instead of the kernel's quarter of an hour (`tcp_user_timeout`).
"""

from __future__ import annotations

import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import dup
from typing import Any, Final

import psycopg2
from psycopg2 import extensions

from agentworkspace.core.backoff import Backoff
from agentworkspace.core.secret import Secret
from agentworkspace.service.database_url import connection_parameters

# The time to connect to each host of the URL.
CONNECT_SECONDS: Final = 3
# The URL may set each of these differently.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "target_session_attrs": "read-write",
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": 5000,
    # For a connection that only waits, as with LISTEN: probes whether the peer is still there.
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 1.0


class DatabaseAway(psycopg2.OperationalError):
    """An attempt to connect failed a moment ago, and the next one is not due yet."""


class Link(extensions.connection):
    """A connection that another thread can cut, whatever it waits for.

    `generation` is the connector's when it was made: how often the server was lost before.
    """

    generation = 0
    _socket: socket.socket | None = None

    def hold(self) -> None:
        """Keep a duplicate of the socket's descriptor for `cut`: libpq may close its own at any
        moment, and its number then be reused for another file.
        """
        self._socket = socket.socket(fileno=dup(self.fileno()))

    def cut(self) -> None:
        """Shut the socket down, so that whoever waits for this connection fails at once."""
        held = self._socket
        if held is not None:
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        held, self._socket = self._socket, None
        if held is not None:
            held.close()

    def __del__(self) -> None:
        # For a connection that was dropped without being closed.
        self.close()


def reconnecting() -> Backoff:
    """The waits between attempts to connect."""
    return Backoff(first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)


class Gate:
    """After a failure, lets one attempt to connect through at a time and fails all others at once.

    So a server that does not answer holds up one thread, and not every thread.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pauses = reconnecting()
        self._next_attempt = 0.0
        self._trying = False
        self._successes = 0

    @contextmanager
    def attempt(self, *, at_once: bool = False) -> Iterator[None]:
        """The block is the attempt. DatabaseAway when none is due; with `at_once` it always is."""
        with self._lock:
            if self._pauses.began and not at_once:
                if self._trying or self._monotonic() < self._next_attempt:
                    raise DatabaseAway("the database did not answer a moment ago")
                self._trying = True
            before = self._successes
        try:
            yield
        except BaseException:
            with self._lock:
                self._trying = False
                # Unless another attempt succeeded meanwhile, which is newer than this failure.
                if self._successes == before:
                    self._next_attempt = self._monotonic() + self._pauses.seconds()
            raise
        with self._lock:
            self._trying = False
            self._successes += 1
            self._pauses.reset()


class Connector:
    """Makes connections to one URL, and knows those that are open.

    `generation` counts how often the server was lost; see `Database.lost`.
    """

    def __init__(self, url: Secret, *, name: str) -> None:
        """ValueError when the URL is malformed; its text is not repeated."""
        connection_parameters(url.reveal())
        self._url = url
        self._name = name
        self._gate = Gate()
        self._open: weakref.WeakSet[Link] = weakref.WeakSet()
        self.generation = 0

    def connect(
        self,
        settings: Mapping[str, object] | None = None,
        *,
        purpose: str = "",
        asynchronous: bool = False,
        at_once: bool = False,
    ) -> Link:
        """A new connection, with these settings of PostgreSQL's, which a pooler would not take.

        `purpose` becomes part of its application_name. With `asynchronous` it is one of psycopg2's
        asynchronous connections, connected and idle. Raises psycopg2.OperationalError, of which
        DatabaseAway is one.
        """
        given = {
            **_DEFAULTS,
            "application_name": f"{self._name} {purpose}".strip(),
            # Read for every connection, because a password in a file may have been changed.
            **connection_parameters(self._url.reveal()),
        }
        if settings:
            options = " ".join(f"-c {key}={value}" for key, value in settings.items())
            given["options"] = f"{given.get('options', '')} {options}".strip()
        with self._gate.attempt(at_once=at_once):
            link: Link = psycopg2.connect(**given, connection_factory=Link, async_=asynchronous)
            try:
                if asynchronous:
                    finish(link)
                link.hold()
            except BaseException:
                link.close()
                raise
        link.generation = self.generation
        self._open.add(link)
        return link

    def open_links(self) -> list[Link]:
        return [link for link in tuple(self._open) if not link.closed]


def finish(link: Link) -> None:
    """Wait until what an asynchronous connection began is done; OperationalError if it takes long.

    psycopg2's own `wait_select` waits for ever, and fails for descriptors beyond 1023.
    """
    while (state := link.poll()) != extensions.POLL_OK:
        poller = select.poll()  # a new one: the descriptor changes from host to host
        poller.register(
            link.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        )
        if not poller.poll(CONNECT_SECONDS * 1000):
            raise psycopg2.OperationalError("the server does not answer")
