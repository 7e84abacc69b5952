"""ValidateToken from one grpc.aio client, as a service in Python would call it."""

from __future__ import annotations

import asyncio
import time

import grpc.aio
import uvloop

from agentworkspace.registry.v1 import token_service_pb2
from agentworkspace.registry.v1.token_service_pb2_grpc import TokenServiceStub
from tests.bench import cases, database
from tests.bench.load import OK, Measured

CALLERS = 64


def measure(address: str, bearer: str, tokens: int, seconds: float) -> Measured:
    return uvloop.run(_measure(address, bearer, tokens, seconds))


async def _measure(address: str, bearer: str, tokens: int, seconds: float) -> Measured:
    latencies: list[float] = []
    drawn = cases.numbers(tokens, 5_000)
    metadata = (("authorization", f"Bearer {bearer}"),)
    cpu = time.process_time()
    async with grpc.aio.insecure_channel(address) as channel:
        stub = TokenServiceStub(channel)
        until = time.perf_counter() + seconds

        async def call(first: int) -> None:
            at = first
            while (began := time.perf_counter()) < until:
                number = drawn[at % len(drawn)]
                at += CALLERS
                answer = await stub.ValidateToken(
                    token_service_pb2.ValidateTokenRequest(
                        token=database.token(number), workspace_id=database.workspace_of(number)
                    ),
                    metadata=metadata,
                    timeout=30,
                )
                assert answer.principal.workspace_id == database.workspace_of(number)
                latencies.append(time.perf_counter() - began)

        await asyncio.gather(*(call(index) for index in range(CALLERS)))
    return Measured(
        seconds=seconds,
        statuses={OK: len(latencies)},
        latencies=sorted(latencies),
        refused_latencies=[],
        cpu_seconds=time.process_time() - cpu,
    )
