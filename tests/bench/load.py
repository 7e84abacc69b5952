"""Load from a process of its own: so many calls in flight, or so many a second; what came back."""

from __future__ import annotations

import gc
import selectors
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench import spread
from tests.bench.h2 import BROKEN_OFF, Connection, Message

OK: Final = 0
RESOURCE_EXHAUSTED: Final = 8
# How long calls that are under way at the end may take to come back.
PATIENCE_SECONDS: Final = 40.0
# With so many calls at once it looks at its sockets only this often: looking after every answer
# would cost more than the answers, on cores that the service needs, too.
MANY: Final = 64
PAUSE_SECONDS: Final = 0.001
# Connections that may be given up, for one that is wanted, until each process has its share.
TRIES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to send. Closed (`in_flight` calls at any time, the next when one is answered), unless
    `rate` says how many to begin a second whatever comes back. `messages` go round and round,
    or once when `once`; `keep` also brings back the bodies of the answers. Every one of `share`,
    the processes behind the address, gets the same number of connections.
    """

    address: str
    method: str
    messages: Sequence[Message]
    bearer: str = ""
    in_flight: int = 128
    rate: float | None = None
    connections: int = 4
    share: Sequence[int] = ()
    warm_seconds: float = 1.0
    seconds: float = 5.0
    once: bool = False
    keep: bool = False


@dataclass(slots=True, kw_only=True)
class Measured:
    """Calls answered after the warm-up; latencies in seconds, of those that were OK and, apart,
    of those that were refused. At a fixed rate they count from when a call was due.
    """

    seconds: float
    # By grpc status; -1 when the connection broke.
    statuses: dict[int, int]
    latencies: list[float]
    refused_latencies: list[float]
    # Of the generator itself, in the same `seconds`.
    cpu_seconds: float
    bodies: list[bytes] = field(default_factory=list)
    # Calls that the server had to answer, those of the warm-up and of the end with them.
    begun: int = 0
    # Connections of each process that shares the port.
    spread: tuple[int, ...] = ()

    @property
    def throughput(self) -> float:
        return self.statuses.get(OK, 0) / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != OK)

    def percentile(self, percent: float) -> float:
        return percentile(self.latencies, percent)


def together(parts: Sequence[Measured]) -> Measured:
    """One measurement that was made in several parts."""
    statuses: Counter[int] = Counter()
    for part in parts:
        statuses.update(part.statuses)
    return Measured(
        seconds=sum(part.seconds for part in parts),
        statuses=dict(statuses),
        latencies=sorted(each for part in parts for each in part.latencies),
        refused_latencies=sorted(each for part in parts for each in part.refused_latencies),
        cpu_seconds=sum(part.cpu_seconds for part in parts),
        bodies=[body for part in parts for body in part.bodies],
        begun=sum(part.begun for part in parts),
        spread=parts[0].spread,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Of sorted values; 0 when there are none."""
    if not values:
        return 0.0
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def run(plan: Plan) -> Measured:
    """Send the plan from this process."""
    return _Run(plan).measure()


def _is_many(plan: Plan) -> bool:
    """Calls under way or, at a rate, between two looks at the sockets."""
    if plan.rate is None:
        return plan.in_flight >= MANY
    return plan.rate * PAUSE_SECONDS >= 1


def due(elapsed: float, rate: float) -> int:
    """How many calls have begun after so many seconds, the first of them at once."""
    return int(elapsed * rate) + 1


class _Run:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._next = 0
        self._now = 0.0
        self._began: dict[int, float] = {}
        self._counting_from = 0.0
        self._counting_until = 0.0
        self._statuses: Counter[int] = Counter()
        self._latencies = array("d")
        self._refused = array("d")
        self._bodies: list[bytes] = []
        self._owed: Counter[int] = Counter()
        self._pauses = _is_many(plan)
        self._selector = selectors.DefaultSelector()
        self._spread: Counter[int] = Counter()
        self._connections = [self._connect(index) for index in range(plan.connections)]
        self._writing: set[int] = set()

    def measure(self) -> Measured:
        plan = self._plan
        start = self._now = time.perf_counter()
        self._counting_from = start + (0.0 if plan.once else plan.warm_seconds)
        self._counting_until = self._counting_from + plan.seconds
        cpu = 0.0
        # Nothing here refers to itself in a circle; and a collection would be a pause of ours.
        gc.disable()
        if plan.rate is None:
            self._fill()
        while self._now < self._counting_until and not self._is_done():
            if plan.rate is not None:
                self._begin_what_is_due(start, plan.rate)
            if not cpu and self._now >= self._counting_from:
                cpu = time.process_time()
            self._turn(0.001 if plan.rate else 0.05)
        ended, cpu = self._now, time.process_time() - cpu
        self._drain()
        for connection in self._connections:
            connection.close()
        self._selector.close()
        gc.enable()
        seconds = min(ended, self._counting_until) - self._counting_from
        return Measured(
            seconds=seconds,
            statuses=dict(self._statuses),
            latencies=sorted(self._latencies),
            refused_latencies=sorted(self._refused),
            cpu_seconds=cpu,
            bodies=self._bodies,
            begun=self._next,
            spread=tuple(self._spread.values()),
        )

    def _connect(self, index: int) -> Connection:
        def answered(tag: int, status: int, body: bytes) -> None:
            self._owed[index] += 1
            self._note(tag, status, body)

        plan = self._plan
        for _ in range(TRIES):
            connection = Connection(
                plan.address,
                plan.method,
                bearer=plan.bearer,
                answered=answered,
                keep_bodies=plan.keep,
            )
            if self._is_wanted(connection):
                self._selector.register(connection.socket, selectors.EVENT_READ, index)
                return connection
            connection.close()
        raise spread.NotAccepted("no process that still has too few connections accepts one")

    def _is_wanted(self, connection: Connection) -> bool:
        plan = self._plan
        if len(plan.share) < 2:
            return True
        ports = (connection.socket.getsockname()[1], connection.socket.getpeername()[1])
        process = spread.owner(*ports, plan.share)
        wanted = spread.has_room(
            self._spread, process, processes=len(plan.share), wanted=plan.connections
        )
        self._spread[process] += wanted
        return wanted

    def _note(self, tag: int, status: int, body: bytes) -> None:
        began = self._began.pop(tag)
        if not self._counting_from <= self._now < self._counting_until:
            return
        self._statuses[status] += 1
        if status == OK:
            self._latencies.append(self._now - began)
        elif status != BROKEN_OFF:
            self._refused.append(self._now - began)
        if self._plan.keep:
            self._bodies.append(body)

    def _is_done(self) -> bool:
        return self._exhausted() and not self._began

    def _exhausted(self) -> bool:
        return self._plan.once and self._next >= len(self._plan.messages)

    def _fill(self) -> None:
        for number in range(self._plan.in_flight):
            self._begin(self._connections[number % len(self._connections)], self._now)
        for index in range(len(self._connections)):
            self._flush(index)

    def _begin_what_is_due(self, start: float, rate: float) -> None:
        wanted = due(self._now - start, rate)
        while self._next < wanted and not self._exhausted():
            index = self._next % len(self._connections)
            self._begin(self._connections[index], start + self._next / rate)
        for index in range(len(self._connections)):
            self._flush(index)

    def _begin(self, connection: Connection, when: float) -> None:
        if connection.closed or connection.leaving or self._exhausted():
            return
        tag, messages = self._next, self._plan.messages
        self._next += 1
        self._began[tag] = when
        connection.call(tag, messages[tag % len(messages)])

    def _turn(self, timeout: float) -> None:
        if self._pauses:
            time.sleep(max(0.0, self._now + PAUSE_SECONDS - time.perf_counter()))
        ready = self._selector.select(timeout)
        self._now = time.perf_counter()
        for key, events in ready:
            index: int = key.data
            connection = self._connections[index]
            if events & selectors.EVENT_READ:
                connection.receive()
                owed = self._owed.pop(index, 0)
                if self._plan.rate is None and self._now < self._counting_until:
                    for _ in range(owed):
                        self._begin(connection, self._now)
            if connection.closed:
                self._selector.unregister(connection.socket)
                connection.close()
            else:
                self._flush(index)

    def _flush(self, index: int) -> None:
        connection = self._connections[index]
        if connection.closed:
            return
        left = connection.flush()
        if left == (index in self._writing):
            return
        (self._writing.add if left else self._writing.discard)(index)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if left else 0)
        self._selector.modify(connection.socket, events, index)

    def _drain(self) -> None:
        """The server shall not find its clients gone: the next measurement would pay for it."""
        give_up = self._now + PATIENCE_SECONDS
        while self._began and self._now < give_up and not self._all_closed():
            self._turn(0.05)

    def _all_closed(self) -> bool:
        return all(connection.closed for connection in self._connections)
