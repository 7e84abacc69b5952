"""Thousands of boxes that start in the same moment, each with its ticket, each with its retries."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
import uvloop

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import derive_instance_token, sha256_hex
from agentworkspace.registry.v1 import registration_service_pb2 as pb
from agentworkspace.registry.v1.registration_service_pb2_grpc import RegistrationServiceStub
from agentworkspace.rpc.errors import failure_from
from tests.bench.bench import say
from tests.bench.database import Server
from tests.bench.pair import Served

BOXES: Final = 5000
CHANNELS: Final = 16
TRIES: Final = 20
CALL_SECONDS: Final = 10.0
LONGEST_PAUSE: Final = 8.0
# As the contract has it: what names no recovery means RETRY. CANCELLED is gRPC's own, see README.
_AGAIN: Final = (
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
)

# As BeginIncarnation leaves them: incarnation 1, and a ticket that nobody has redeemed.
_ADMIT: Final = """
INSERT INTO registry.workspaces (workspace_id, tenant_id, create_time, incarnation, ticket_required)
SELECT bench.workspace(number), 'storm', now(), 1, true FROM generate_series(%(a)s, %(b)s) number;
INSERT INTO registry.registrations (workspace_id)
SELECT bench.workspace(number) FROM generate_series(%(a)s, %(b)s) AS number;
INSERT INTO registry.tokens
    (workspace_id, kind, token_sha256, incarnation, create_time, expire_time, created_by)
SELECT bench.workspace(number), 'TICKET', sha256(bench.token('awt_', number)::bytea), 1, now(),
       now() + interval '1 hour', 'bench'
FROM generate_series(%(a)s, %(b)s) AS number;
"""
_TICKETS: Final = """
SELECT bench.workspace(number)::text, bench.token('awt_', number)
FROM generate_series(%(a)s, %(b)s) AS number
"""
_COUNTED: Final = """
SELECT count(*) FILTER (WHERE live = 1), count(*) FILTER (WHERE minted > 1),
       count(*) FILTER (WHERE live <> 1)
FROM (
    SELECT w.workspace_id, count(t.token_id) AS minted,
           count(t.token_id) FILTER (WHERE t.revoke_time IS NULL) AS live
    FROM registry.workspaces w
    LEFT JOIN registry.tokens t ON t.workspace_id = w.workspace_id AND t.kind = 'INSTANCE'
    WHERE w.workspace_id = ANY(%(ids)s::uuid[]) GROUP BY w.workspace_id
) each
"""


@dataclass(slots=True)
class _Story:
    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    tries: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def storm(server: Server, database_name: str, served: Served) -> None:
    say(f"── {BOXES:,} boxes register at once, each with its ticket")
    boxes = _admit(server, database_name)
    began = time.perf_counter()
    story = uvloop.run(_all_at_once(served.address, boxes))
    took = time.perf_counter() - began
    with server.session(database_name) as cursor:
        cursor.execute(_COUNTED, {"ids": [workspace_id for workspace_id, _ in boxes]})
        inside, twice, outside = cursor.fetchone() or (0, 0, 0)
    waited, tries = sorted(story.seconds), sorted(story.tries)
    say(f"   all answered after {took:.1f} s: {dict(story.outcomes)}")
    say(f"   on the way: {dict(story.refusals) or 'no refusal'}")
    say(
        f"   a box waited {waited[len(waited) // 2]:.1f} s in the middle, {waited[-1]:.1f} s at "
        f"most; tries {tries[len(tries) // 2]} in the middle, {tries[-1]} at most (of {TRIES})"
    )
    say(f"   in the database: {inside} with one live token, {twice} with two, {outside} without")


def _admit(server: Server, database_name: str) -> list[tuple[str, str]]:
    # Other numbers in every run: what was launched once stays launched.
    first = int(time.time()) * 10_000
    span = {"a": first, "b": first + BOXES - 1}
    with server.session(database_name) as cursor:
        cursor.execute(_ADMIT, span)
        cursor.execute("ANALYZE registry.tokens")
        cursor.execute(_TICKETS, span)
        return [(str(workspace_id), str(ticket)) for workspace_id, ticket in cursor.fetchall()]


async def _all_at_once(address: str, boxes: list[tuple[str, str]]) -> _Story:
    story = _Story()
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(CHANNELS)]
    stubs = [RegistrationServiceStub(channel) for channel in channels]
    try:
        await asyncio.gather(
            *(
                _box(stubs[index % CHANNELS], workspace_id, ticket, story)
                for index, (workspace_id, ticket) in enumerate(boxes)
            )
        )
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))
    return story


async def _box(
    # Its types know the blocking stub only.
    stub: Any,
    workspace_id: str,
    ticket: str,
    story: _Story,
) -> None:
    """Boots as `agentworkspace.client.agent` does: its token derived, back-off with jitter."""
    token = derive_instance_token(Secret(ticket), workspace_id, 1)
    request = pb.RegisterRequest(
        workspace_id=workspace_id, bootstrap_ticket=ticket, token_sha256=sha256_hex(token)
    )
    began = time.perf_counter()
    for tried in range(1, TRIES + 1):
        try:
            answer = await stub.Register(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            failure = failure_from(error)
            story.refusals[failure.reason or error.code().name] += 1
            if error.code() not in _AGAIN:
                story.outcomes[f"refused: {failure.reason}"] += 1
                return
            told = failure.retry_after.total_seconds() if failure.retry_after else 0.2
            pause = min(LONGEST_PAUSE, max(told, 0.2 * 2**tried))
            await asyncio.sleep(random.uniform(told / 2, pause))  # noqa: S311 - jitter
            continue
        story.outcomes[pb.RegisterOutcome.Name(answer.outcome)] += 1
        story.tries.append(tried)
        story.seconds.append(time.perf_counter() - began)
        return
    story.outcomes["gave up"] += 1
