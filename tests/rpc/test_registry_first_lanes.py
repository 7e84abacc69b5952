"""First Registers of a fleet: two batches at the database at once, and none of them large."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from agentworkspace.service.batches import Batches
from agentworkspace.service.thread_pool import BlockingPool
from registry_service.api import core
from registry_service.commands import first_registers

_NOTHING: Any = None


def test_a_second_batch_is_sent_while_the_first_is_away_and_none_has_more_than_64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = threading.Barrier(2, timeout=20)
    batches: list[int] = []

    def run(_store: object, commands: Sequence[int], **_: object) -> Sequence[int]:
        batches.append(len(commands))
        if len(batches) <= 2:
            # Neither comes back before the other has been sent.
            both.wait()
        return commands

    monkeypatch.setattr(first_registers, "run", run)

    async def story() -> list[Any]:
        pool = BlockingPool(threads=2, max_waiting=2)
        batches = Batches(pool, max_batch=256, max_waiting=1024, collectors=CollectorRegistry())
        hot = core.HotCalls(
            batches,
            store=_NOTHING,
            lines=_NOTHING,
            heartbeat_interval=timedelta(seconds=30),
            new_secret=_NOTHING,
        )
        queue: Any = hot.first_registers
        answers = await asyncio.gather(*(queue.ask(number) for number in range(150)))
        assert await pool.end(5)
        return answers

    assert asyncio.run(story()) == list(range(150))
    assert max(batches) == 64
    assert sum(batches) == 150
