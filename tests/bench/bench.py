"""Measures one method after another, each in turn with the bare server."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self, TypeVar

from tests.bench import cases, ceiling, load, processes
from tests.bench.database import Server
from tests.bench.h2 import Message
from tests.bench.load import Measured, Plan
from tests.bench.pair import Served
from tests.bench.rows import Row

# Load generators at the same time: agents, and somebody else beside them.
GENERATORS: Final = 2
# Of one row, each between two looks at the bare server: a shared machine is another one every
# second, and what a row made of the bare server is the median of them.
REPEATS: Final = 3

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row to come. `unit`: how many things one call does. `store`: which of the database's own
    ceilings it is compared with. `least_seconds`: measured for that long, whatever the others are.
    `once`: each message is sent once, so that every repeat has its share of them.
    """

    name: str
    method: str
    messages: Sequence[Message]
    unit: int = 1
    store: str = ""
    in_flight: int = 128
    once: bool = False
    keep: bool = False
    least_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """So far: seconds of processor by the service and by PostgreSQL, bytes of PostgreSQL's log."""

    cpu: float = 0.0
    database: float = 0.0
    wal: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            cpu=self.cpu + other.cpu,
            database=self.database + other.database,
            wal=self.wal + other.wal,
        )

    def __sub__(self, other: Spent) -> Spent:
        return self + Spent(cpu=-other.cpu, database=-other.database, wal=-other.wal)


class Bench(AbstractContextManager["Bench"]):
    """Shows what it does while it does it; every row goes into `rows`."""

    def __init__(
        self, server: Server, bare: Served, *, seconds: float, repeats: int = REPEATS
    ) -> None:
        self.rows: list[Row] = []
        # Of a row, all its repeats together.
        self.seconds = seconds
        self.repeats = repeats
        self._server = server
        self._bare = bare
        # A process of its own, without this one's threads and channels.
        context = multiprocessing.get_context("spawn")
        self.generators = ProcessPoolExecutor(GENERATORS, mp_context=context)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.generators.shutdown()

    def __enter__(self) -> Self:
        return self

    def send(self, plan: Plan) -> Future[Measured]:
        return self.generators.submit(load.run, plan)

    def measure(
        self, case: Case, served: Served, *, tokens: int, count: int, stores: dict[str, float]
    ) -> Measured:
        """One row: the method and the bare server in turn, so that both have the same machine."""
        say(f"   {case.name}, {tokens:,} tokens, {count} process(es) …")
        plan = self._plan(case, served)

        def send(index: int) -> Measured:
            pick = part_of if case.once else turned
            messages = pick(case.messages, index, self.repeats)
            return self.send(replace(plan, messages=messages)).result()

        parts, spent, bare = self.in_turn(served, send)
        found = load.together(parts)
        calls = found.begun
        self.rows.append(
            Row(
                name=case.name,
                tokens=tokens,
                processes=count,
                unit=case.unit,
                in_flight=case.in_flight,
                throughput=found.throughput * case.unit,
                p50_ms=found.percentile(50) * 1000,
                p99_ms=found.percentile(99) * 1000,
                cpu_ms=spent.cpu / calls * 1000 if calls else 0.0,
                database_cpu_ms=spent.database / calls * 1000 if calls else 0.0,
                wal_bytes=spent.wal / calls if calls else 0.0,
                memory_mib=served.process.memory_mib(),
                failed=found.failed,
                bare=statistics.mean(bare),
                # What is measured for long has its reason in the whole of it, not in the middle.
                shares=[]
                if case.least_seconds
                else shares([part.throughput * case.unit for part in parts], bare),
                store=stores.get(case.store, 0.0),
            )
        )
        say(f"      {self.rows[-1].brief()}")
        say(f"      {generator(found)}")
        return found

    def in_turn(
        self, served: Served, measure: Callable[[int], Part]
    ) -> tuple[list[Part], Spent, list[float]]:
        """A row, repeated: the parts, what they cost the service and PostgreSQL, and what the
        bare server did before, between and after them, so one number more.
        """
        bare, parts, spent = [self.bare()], [], Spent()
        for index in range(self.repeats):
            before = self._spent(served)
            parts.append(measure(index))
            spent += self._spent(served) - before
            bare.append(self.bare())
        return parts, spent, bare

    def bare(self) -> float:
        """Calls a second of the server that does nothing, now: one yardstick for all rows."""
        plan = Plan(
            address=self._bare.address,
            method=ceiling.METHOD,
            messages=cases.validate_one(0),
            bearer=self._bare.bearer,
            warm_seconds=0.3,
            seconds=max(1.0, self.seconds / 5),
        )
        return self.send(plan).result().throughput

    def _spent(self, served: Served) -> Spent:
        return Spent(
            cpu=served.process.cpu_seconds(),
            database=processes.cpu_seconds(self._server.pid),
            wal=self._server.wal_bytes(),
        )

    def _plan(self, case: Case, served: Served) -> Plan:
        return Plan(
            address=served.address,
            method=case.method,
            messages=case.messages,
            bearer="" if case.messages[0].bearer else served.bearer,
            in_flight=case.in_flight,
            share=served.process.workers() if len(served.metrics) > 1 else (),
            warm_seconds=1.0 / self.repeats,
            seconds=max(self.seconds, case.least_seconds) / self.repeats,
            once=case.once,
            keep=case.keep,
        )


def turned(messages: Sequence[Message], part: int, parts: int) -> list[Message]:
    """The same, begun further on: each part of a row asks for other tokens."""
    begin = len(messages) * part // parts
    return [*messages[begin:], *messages[:begin]]


def part_of(messages: Sequence[Message], part: int, parts: int) -> Sequence[Message]:
    """Those of one part, where none may be sent twice."""
    return messages[len(messages) * part // parts : len(messages) * (part + 1) // parts]


def shares(throughputs: Sequence[float], bare: Sequence[float]) -> list[float]:
    """What each repeat made of the bare server on both its sides."""
    return [
        2 * throughput / (before + after)
        for throughput, before, after in zip(throughputs, bare[:-1], bare[1:], strict=True)
    ]


def generator(found: Measured) -> str:
    """What measuring cost, and whom it asked."""
    share = found.cpu_seconds / found.seconds if found.seconds else 0.0
    spread = " + ".join(map(str, found.spread)) or "not shared"
    return f"the generator took {share:.0%} of a core; connections by process: {spread}"


def say(text: str) -> None:
    print(text, flush=True)
