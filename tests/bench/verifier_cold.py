"""Checks of tokens that a verifier has not seen: each a question to the registry.

Two processes ask, as two services do that were just restarted: each about tokens drawn from its
own half of all, none of them twice in a part of the row. The verifier gathers what waits at the
same time into one call; beside it, the same processes ask with a call for each token.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from agentworkspace.client.channel import aio_channel
from agentworkspace.client.verifier import Verifier
from agentworkspace.core.secret import Secret
from agentworkspace.registry.v1.token_service_pb2 import ValidateTokenRequest
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from tests.bench import cases, database, load
from tests.bench.bench import GENERATORS, Bench, say, shares
from tests.bench.pair import Served
from tests.bench.ratios import COLD, UNARY
from tests.bench.rows import Row

# Each in a process of its own.
CLIENTS: Final = GENERATORS
# Requests that a service works on at the same time.
CALLERS: Final = 256
# More than they can ask about; computed before the clock starts, which takes so long at most.
TOKENS_A_SECOND: Final = 60_000
PREPARING_SECONDS: Final = 3.0

Check = Callable[[Secret], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cold:
    """What one client process did, or several at once; seconds of their own processor."""

    checks: int
    a_second: float
    cpu_seconds: float
    latencies: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one client process is to do. `client` of `CLIENTS`; `gathered`: by the verifier.

    `begin` in seconds since the epoch. Every `part` of a row asks for other tokens.
    """

    address: str
    bearer: str
    tokens: int
    client: int
    part: int
    begin: float
    seconds: float
    gathered: bool


def measure(bench: Bench, served: Served, tokens: int) -> None:
    """Two rows, each in turn with the bare server."""
    for name in (COLD, UNARY):
        say(f"   {name}, {CLIENTS} clients with {CALLERS} callers each …")

        def part(index: int, *, gathered: bool = name == COLD) -> Cold:
            return _at_once(bench, served, tokens, part=index, gathered=gathered)

        parts, spent, bare = bench.in_turn(served, part)
        checks = sum(each.checks for each in parts)
        latencies = sorted(each for part in parts for each in part.latencies)
        bench.rows.append(
            Row(
                name=name,
                tokens=tokens,
                processes=1,
                throughput=sum(each.a_second for each in parts) / len(parts),
                p50_ms=load.percentile(latencies, 50) * 1000,
                p99_ms=load.percentile(latencies, 99) * 1000,
                cpu_ms=spent.cpu / checks * 1000,
                database_cpu_ms=spent.database / checks * 1000,
                wal_bytes=spent.wal / checks,
                memory_mib=served.process.memory_mib(),
                failed=0,
                bare=statistics.mean(bare),
                shares=shares([each.a_second for each in parts], bare),
                client_cpu_ms=sum(each.cpu_seconds for each in parts) / checks * 1000,
            )
        )
        say(f"      {bench.rows[-1].brief()}")
        say(f"      its clients took {bench.rows[-1].client_cpu_ms:.3f} ms of processor a check")


def _at_once(bench: Bench, served: Served, tokens: int, *, part: int, gathered: bool) -> Cold:
    """All clients, from the same moment on. A check that fails ends the bench."""
    begin = time.time() + PREPARING_SECONDS
    running = [
        bench.generators.submit(
            run,
            Ask(
                address=served.address,
                bearer=served.bearer,
                tokens=tokens,
                client=client,
                part=part,
                begin=begin,
                seconds=bench.seconds / bench.repeats,
                gathered=gathered,
            ),
        )
        for client in range(CLIENTS)
    ]
    return together([each.result() for each in running])


def together(parts: list[Cold]) -> Cold:
    """Of clients that ran at the same time."""
    return Cold(
        checks=sum(part.checks for part in parts),
        a_second=sum(part.a_second for part in parts),
        cpu_seconds=sum(part.cpu_seconds for part in parts),
        latencies=sorted(each for part in parts for each in part.latencies),
    )


def run(ask: Ask) -> Cold:
    """In a client process."""
    return uvloop.run(_run(ask))


def share_of(ask: Ask) -> list[int]:
    """The numbers of tokens that are this client's to ask about, each once, in mixed order."""
    drawn = dict.fromkeys(
        cases.numbers(ask.tokens, int(TOKENS_A_SECOND * ask.seconds), seed=ask.part)
    )
    return [number for number in drawn if number % CLIENTS == ask.client]


async def _run(ask: Ask) -> Cold:
    secrets = iter([Secret(database.token(number)) for number in share_of(ask)])
    async with aio_channel(ask.address, bearer=Secret(ask.bearer)) as channel:
        if not ask.gathered:
            check = _one_by_one(TokenServiceStub(channel))
            return await _ask(check, secrets, ask)
        async with Verifier(channel) as verifier:
            while not verifier.hears:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)
            return await _ask(verifier.check, secrets, ask)


def _one_by_one(stub: Any) -> Check:
    async def check(token: Secret) -> object:
        answer = await stub.ValidateToken(
            ValidateTokenRequest(token=token.reveal(), any_workspace=True), timeout=30
        )
        assert answer.principal.workspace_id
        return answer

    return check


async def _ask(check: Check, secrets: Iterator[Secret], ask: Ask) -> Cold:
    latencies: list[float] = []
    await asyncio.sleep(ask.begin - time.time())
    cpu, began = time.process_time(), time.perf_counter()
    until = began + ask.seconds

    async def caller() -> None:
        while (asked := time.perf_counter()) < until:
            secret = next(secrets, None)
            if secret is None:
                return
            await check(secret)
            latencies.append(time.perf_counter() - asked)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return Cold(
        checks=len(latencies),
        a_second=len(latencies) / (time.perf_counter() - began),
        cpu_seconds=time.process_time() - cpu,
        latencies=latencies,
    )
