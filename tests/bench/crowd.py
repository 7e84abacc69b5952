"""Many boxes played by one cheap process: each calls when it is due, and decides when again.

They share connections, as boxes behind a proxy do. What plays them must not take the cores that
serve them; 50 000 at a heartbeat every 30 s cost a tenth of one.
"""

from __future__ import annotations

import heapq
import selectors
import time
from collections.abc import Callable, Sequence
from typing import Final

from agentworkspace.client.agent.messages import CALL_SECONDS
from agentworkspace.core.backoff import Backoff
from agentworkspace.service.store_faults import COME_BACK_AFTER
from tests.bench import load
from tests.bench.h2 import BROKEN_OFF, Connection, Message

CONNECTIONS: Final = 128
# A connection that is refused or was lost is tried again so often.
RECONNECT_SECONDS: Final = 0.2
# What a client tries again after, as the contract has it, by grpc status. CANCELLED is gRPC's own
# and names no recovery, see README; broken off: the connection went, or could not be had.
OVERLOADED: Final = 8
AGAIN: Final = {
    BROKEN_OFF: "broken off",
    1: "CANCELLED",
    4: "DEADLINE_EXCEEDED",
    OVERLOADED: "OVERLOADED",
    10: "ABORTED",
    14: "UNAVAILABLE",
}

# Box, status, and when it was asked: when the box calls next; None for never. Seconds since the
# crowd began.
Answered = Callable[[int, int, float], float | None]


class Crowd:
    """`first` says when each box calls first. A box is the place of its message."""

    def __init__(
        self,
        address: str,
        method: str,
        messages: Sequence[Message],
        first: Sequence[float],
        answered: Answered,
    ) -> None:
        self._address = address
        self._method = method
        self._messages = messages
        self._answered = answered
        self._due = [(when, box) for box, when in enumerate(first)]
        heapq.heapify(self._due)
        self._asked: dict[int, float] = {}
        self._selector = selectors.DefaultSelector()
        self._connections: list[Connection | None] = [None] * CONNECTIONS
        self._reconnect = 0.0
        self._began = time.perf_counter()
        self.now = 0.0

    def play(self, seconds: float) -> float:
        """For so long, or until nobody will call again. Answers its own processor time."""
        cpu = time.process_time()
        self._began = time.perf_counter()
        while (self._due or self._asked) and self.now < seconds:
            self._connect()
            self._call_those_due()
            self._look()
        for connection in self._connections:
            if connection is not None:
                connection.close()
        self._selector.close()
        return time.process_time() - cpu

    def _connect(self) -> None:
        """Whatever connections are missing, as far as they can be had."""
        if self.now < self._reconnect:
            return
        self._reconnect = self.now + RECONNECT_SECONDS
        for at, connection in enumerate(self._connections):
            if connection is None:
                try:
                    opened = self._connections[at] = self._opened()
                except OSError:
                    return
                self._selector.register(opened.socket, selectors.EVENT_READ, at)

    def _opened(self) -> Connection:
        return Connection(
            self._address,
            self._method,
            bearer="",
            answered=lambda box, status, _body: self._end(box, status),
            timeout_seconds=CALL_SECONDS,
        )

    def _call_those_due(self) -> None:
        while self._due and self._due[0][0] <= self.now:
            _, box = heapq.heappop(self._due)
            self._asked[box] = self.now
            connection = self._connections[box % CONNECTIONS]
            if connection is None or connection.closed or connection.leaving:
                self._end(box, BROKEN_OFF)
            else:
                connection.call(box, self._messages[box])
        for connection in self._connections:
            if connection is not None:
                connection.flush()

    def _look(self) -> None:
        time.sleep(load.PAUSE_SECONDS)
        ready = self._selector.select(0.01)
        self.now = time.perf_counter() - self._began
        for key, _ in ready:
            connection = self._connections[key.data]
            if connection is not None:
                connection.receive()
        for at, connection in enumerate(self._connections):
            if connection is not None and _is_over(connection):
                self._selector.unregister(connection.socket)
                connection.close()
                self._connections[at] = None

    def _end(self, box: int, status: int) -> None:
        again = self._answered(box, status, self._asked.pop(box))
        if again is not None:
            heapq.heappush(self._due, (again, box))


def pause(backoff: Backoff, status: int) -> float:
    """Until the next try after this status, as `agentworkspace.client.agent` waits. The service
    says COME_BACK_AFTER with every OVERLOADED; the others come without a hint.
    """
    return backoff.seconds(COME_BACK_AFTER if status == OVERLOADED else None)


def _is_over(connection: Connection) -> bool:
    return connection.closed or (connection.leaving and not connection.in_flight)
