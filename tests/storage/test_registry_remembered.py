"""What is remembered for a moment: the newest of each, in portions, and all of it at a stop."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.service.tasks import Task, Tasks
from registry_service.storage.registrations import Heard
from registry_service.workers.write_behind import LastHeard, LastUses

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
A, B, C = TokenId("a"), TokenId("b"), TokenId("c")


def test_the_newest_of_each_is_kept_whatever_came_last() -> None:
    heard, box = LastHeard(), WorkspaceId("w")
    for second in (2, 3, 1):
        heard.note(box, Heard(NOON + timedelta(seconds=second), 7))
    assert heard.take(10) == {box: Heard(NOON + timedelta(seconds=3), 7)}
    assert heard.take(10) == {}


def test_who_came_first_is_taken_first_and_what_was_busy_later() -> None:
    uses = LastUses()
    for token_id in (A, B, C):
        uses.note(token_id, NOON)
    portion = uses.take(2)
    assert list(portion) == [A, B]
    uses.note(A, NOON + timedelta(seconds=1))
    uses.put_back(portion, [A, B])
    # What came meanwhile is newer than what is put back.
    assert uses.take(10) == {C: NOON, A: NOON + timedelta(seconds=1), B: NOON}


async def test_a_stop_waits_for_all_portions_of_what_is_remembered() -> None:
    portions, stop = [3, 2, 1], asyncio.Event()
    stop.set()

    async def write() -> bool:
        portions.pop()
        return bool(portions)

    faults = Counter("faults", "Of this test.", ("task",), registry=CollectorRegistry())
    async with asyncio.timeout(20):
        await Tasks("registry", faults=faults).run([Task("w", 60.0, write, at_stop=True)], stop)
    assert portions == []
