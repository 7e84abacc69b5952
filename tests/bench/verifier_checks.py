"""How many cached checks one process does on one core: `python -m tests.bench.verifier_checks`."""

from __future__ import annotations

import time
from typing import Any

import grpc.aio
import uvloop

from agentworkspace.client.verifier import Verifier
from agentworkspace.client.verifier.asyncio_verifier import _digest
from agentworkspace.client.verifier.cache import Known
from agentworkspace.client.verifier.principals import Principal, Requirement
from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import TokenKind, new_token
from agentworkspace.registry.v1 import token_service_pb2 as pb

TOKENS = 10_000
ROUNDS = 30
WANTED = Requirement(kind=TokenKind.API, scopes=frozenset({"tasks:read"}))


async def measure() -> tuple[float, float]:
    """Checks a second by the clock, and by the processor time they took; hashing included."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        verifier = Verifier(channel, keep_alive_seconds=3600.0)
        verifier._hear(pb.WatchRevocationsResponse(revision=1))
        tokens = [_known(verifier, number) for number in range(TOKENS)]
        started, worked = time.perf_counter(), time.process_time()
        for _ in range(ROUNDS):
            for token in tokens:
                await verifier.check(Secret(token), WANTED, workspace_id="w")
        checks = TOKENS * ROUNDS
        return (
            checks / (time.perf_counter() - started),
            checks / (time.process_time() - worked),
        )


def _known(verifier: Verifier, number: int) -> str:
    token = new_token(TokenKind.API)
    whose: dict[str, Any] = {"workspace_id": "w", "tenant_id": "acme", "incarnation": 0}
    principal = Principal(
        **whose,
        token_id=str(number),
        kind=TokenKind.API,
        scopes=frozenset({"tasks:read", "tasks:write"}),
        expires_at=None,
    )
    verifier._cache.put(_digest(token), Known(principal, 1, float("inf")))
    return token.reveal()


if __name__ == "__main__":
    by_clock, by_core = uvloop.run(measure())
    print(f"{by_clock:,.0f} cached checks a second, {by_core:,.0f} a second of one core")
