"""A fleet at its own pace: every box a heartbeat every 30 s, through two outages.

The registry is restarted and PostgreSQL is lost while the boxes go on; each of them is alive all
the time, so whoever is marked OFFLINE is marked wrongly.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentworkspace.core.backoff import Backoff
from tests.bench import cases, crowd, load, pair, processes
from tests.bench.bench import say
from tests.bench.crowd import AGAIN
from tests.bench.database import TOKENS_A_WORKSPACE, Server
from tests.bench.pair import Served

INTERVAL: Final = 30.0
# Seconds since the boxes began: when the calm part is measured, when what is lost, and the end.
CALM: Final = (35.0, 60.0)
RESTART: Final = 62.0
CRASH: Final = 110.0
END: Final = 190.0
# How long a standby takes to be the primary.
AWAY_SECONDS: Final = 8.0
PREPARING_SECONDS: Final = 10.0
HEARTBEAT: Final = cases.BOXES + "Heartbeat"

_STATES: Final = """
SELECT state, count(*) FROM registry.registrations
WHERE workspace_id IN (SELECT bench.workspace(n) FROM generate_series(0, %(boxes)s - 1) n)
GROUP BY state
"""
_WRONGLY: Final = """
SELECT count(*) FROM registry.audit_events
WHERE action = 'registration.offline' AND time >= %(since)s
    AND workspace_id IN (SELECT bench.workspace(n) FROM generate_series(0, %(boxes)s - 1) n)
"""


@dataclass(slots=True)
class Heard:
    """Of all boxes; seconds. `by_second`: heartbeats that were answered OK."""

    by_second: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    turned_away: Counter[int] = field(default_factory=Counter)
    calm: list[float] = field(default_factory=list)
    # Between two heartbeats that were answered, the longest of any box.
    longest_silence: float = 0.0
    # When the last box was heard that had called after an outage, by when that began.
    all_back: dict[float, float] = field(default_factory=dict)
    # Boxes that were not heard for two intervals when it ended.
    missing: int = 0
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`begin` in seconds since the epoch."""

    address: str
    boxes: int
    begin: float


def measure(server: Server, home: Path, boxes: int) -> None:
    """Takes END seconds."""
    say(f"── {boxes:,} boxes, {boxes / INTERVAL:,.0f} heartbeats a second: {INTERVAL:g} s apart")
    name = server.registry_with(boxes * TOKENS_A_WORKSPACE)
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack, ProcessPoolExecutor(1, mp_context=context) as generator:
        service = stack.enter_context(ExitStack())
        served = service.enter_context(pair.registry(server, name, home / "registry"))
        with server.session(name) as cursor:
            cursor.execute("SELECT clock_timestamp()")
            (since,) = cursor.fetchone() or (None,)
        begin = time.time() + PREPARING_SECONDS
        playing = generator.submit(play, Ask(address=served.address, boxes=boxes, begin=begin))
        spent = _calm(server, served, begin)
        _wait(begin + RESTART)
        service.close()
        service.enter_context(
            pair.registry(server, name, home / "registry", address=served.address)
        )
        say(f"   the registry was away for {time.time() - begin - RESTART:.1f} s")
        _wait(begin + CRASH)
        server.crash()
        time.sleep(AWAY_SECONDS)
        server.start()
        say(f"   PostgreSQL was away for {time.time() - begin - CRASH:.1f} s")
        heard = playing.result()
        with server.session(name) as cursor:
            cursor.execute(_STATES, {"boxes": boxes})
            states = dict(cursor.fetchall())
            cursor.execute(_WRONGLY, {"boxes": boxes, "since": since})
            (wrongly,) = cursor.fetchone() or (0,)
    _tell(heard, spent, states, wrongly)


def play(ask: Ask) -> Heard:
    """In a process of its own."""
    messages = cases.heartbeat_of_all(ask.boxes)
    draw = random.Random(5)  # noqa: S311 - not a secret, and repeatable
    heard = Heard()
    last, outages = [0.0] * ask.boxes, (RESTART, CRASH)
    backoffs = [Backoff(longest=INTERVAL) for _ in messages]

    def answered(box: int, status: int, asked: float) -> float | None:
        now = fleet.now
        if status == load.OK:
            heard.by_second[int(now)] += 1
            if CALM[0] <= asked < CALM[1]:
                heard.calm.append(now - asked)
            heard.longest_silence = max(heard.longest_silence, now - last[box])
            for outage in outages:
                if last[box] < outage <= asked:
                    heard.all_back[outage] = now
            last[box] = now
            backoffs[box].reset()
            return asked + INTERVAL
        if status in AGAIN:
            heard.refusals[AGAIN[status]] += 1
            return now + crowd.pause(backoffs[box], status)
        heard.turned_away[status] += 1
        return None

    first = [draw.uniform(0.0, INTERVAL) for _ in messages]
    time.sleep(max(0.0, ask.begin - time.time()))
    fleet = crowd.Crowd(ask.address, HEARTBEAT, messages, first, answered)
    heard.cpu_seconds = fleet.play(END)
    heard.missing = sum(each < END - 2 * INTERVAL for each in last)
    return heard


@dataclass(frozen=True, slots=True)
class Spent:
    """In the calm part: seconds of processor, of the service and of PostgreSQL; bytes of log."""

    service: float
    postgres: float
    wal: float


def _calm(server: Server, served: Served, begin: float) -> Spent:
    def now() -> tuple[float, float, float]:
        return (
            served.process.cpu_seconds(),
            processes.cpu_seconds(server.pid),
            float(server.wal_bytes()),
        )

    _wait(begin + CALM[0])
    before = now()
    _wait(begin + CALM[1])
    return Spent(*(after - earlier for after, earlier in zip(now(), before, strict=True)))


def _wait(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def _tell(heard: Heard, spent: Spent, states: dict[str, int], wrongly: int) -> None:
    seconds = CALM[1] - CALM[0]
    beats = sum(count for at, count in heard.by_second.items() if CALM[0] <= at < CALM[1])
    calm = sorted(heard.calm)
    say(f"   calm: {beats / seconds:,.0f} a second, p50 {load.percentile(calm, 50) * 1000:.1f} ms, "
        f"p99 {load.percentile(calm, 99) * 1000:.1f} ms")  # fmt: skip
    say(f"   processor of the service {spent.service / seconds:.2f} cores, of PostgreSQL "
        f"{spent.postgres / seconds:.2f}, of the boxes {heard.cpu_seconds / END:.2f}")  # fmt: skip
    say(f"   log of PostgreSQL: {spent.wal / beats:,.0f} bytes a heartbeat, "
        f"{spent.wal / seconds / 1e6:.2f} MB/s")  # fmt: skip
    for name, outage in (("the restart", RESTART), ("the crash", CRASH)):
        back = heard.all_back.get(outage, float("nan")) - outage
        say(f"   {name}: the last box was heard again {back:.1f} s after it began")
    say(f"   refused on the way: {dict(heard.refusals)}; for good: {dict(heard.turned_away)}")
    say(f"   longest silence of a box {heard.longest_silence:.1f} s; not heard at the end: "
        f"{heard.missing}")  # fmt: skip
    say(f"   in the database: {states}; marked OFFLINE meanwhile: {wrongly}")
