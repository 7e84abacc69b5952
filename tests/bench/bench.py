"""Measures one method after another, each in turn with the bare server."""

from __future__ import annotations

import multiprocessing
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
# Of one row, with the bare server between them: a shared machine is another one every second.
SLICES: Final = 4

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row to come. `unit`: how many things one call does. `store`: which of the database's own
    ceilings it is compared with. `least_seconds`: measured for that long, whatever the others are.
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

    def __init__(self, server: Server, bare: Served, *, seconds: float) -> None:
        self.rows: list[Row] = []
        self.seconds = seconds
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
        slices = 1 if case.once else SLICES
        plan = self._plan(case, served, slices)

        def send(index: int) -> Measured:
            messages = turned(case.messages, index, slices)
            return self.send(replace(plan, messages=messages)).result()

        parts, spent, bare = self.in_turn(served, send, slices)
        found = load.together(parts)
        calls = float(sum(found.statuses.values()))
        if not case.once:
            # What was answered before and after the seconds that count was paid for, too.
            calls = calls * (1 + plan.warm_seconds / plan.seconds) + slices * case.in_flight
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
                bare=bare,
                store=stores.get(case.store, 0.0),
            )
        )
        say(f"      {self.rows[-1].brief()}")
        say(f"      {generator(found)}")
        return found

    def in_turn(
        self, served: Served, measure: Callable[[int], Part], slices: int = SLICES
    ) -> tuple[list[Part], Spent, float]:
        """A row in several parts: these, what they cost the service and PostgreSQL, and what the
        bare server did a second before, between and after them.
        """
        bare, parts, spent = [self.bare()], [], Spent()
        for index in range(slices):
            before = self._spent(served)
            parts.append(measure(index))
            spent += self._spent(served) - before
            bare.append(self.bare())
        return parts, spent, sum(bare) / len(bare)

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

    def _plan(self, case: Case, served: Served, slices: int) -> Plan:
        return Plan(
            address=served.address,
            method=case.method,
            messages=case.messages,
            bearer="" if case.messages[0].bearer else served.bearer,
            in_flight=case.in_flight,
            share=served.process.workers() if len(served.metrics) > 1 else (),
            warm_seconds=1.0 / slices,
            seconds=max(self.seconds, case.least_seconds) / slices,
            once=case.once,
            keep=case.keep,
        )


def turned(messages: Sequence[Message], part: int, parts: int) -> list[Message]:
    """The same, begun further on: each part of a row asks for other tokens."""
    begin = len(messages) * part // parts
    return [*messages[begin:], *messages[:begin]]


def generator(found: Measured) -> str:
    """What measuring cost, and whom it asked."""
    share = found.cpu_seconds / found.seconds if found.seconds else 0.0
    spread = " + ".join(map(str, found.spread)) or "not shared"
    return f"the generator took {share:.0%} of a core; connections by process: {spread}"


def say(text: str) -> None:
    print(text, flush=True)
