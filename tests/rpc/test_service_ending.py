"""The end of a service: what is stuck holds nothing up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest

from agentworkspace.service.ending import STUCK, closing_seconds
from agentworkspace.service.thread_pool import BlockingPool

ROOT: Final = Path(__file__).resolve().parents[2]

STUCK_THREAD: Final = """
import asyncio, sys, threading
from agentworkspace.service.ending import leave
from agentworkspace.service.thread_pool import BlockingPool

async def main():
    pool = BlockingPool(threads=1, max_waiting=0)
    stuck = asyncio.create_task(pool.run(threading.Event().wait))
    await asyncio.sleep(0)
    assert not await pool.end(0.0)
    stuck.cancel()

asyncio.run(main())
print("closed", flush=True)
sys.exit(leave(0))
"""
STUCK_LOOP: Final = """
import asyncio, threading
from agentworkspace.service import ending

async def main():
    with ending.no_longer_than(-2.0):
        threading.Event().wait()

asyncio.run(main())
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONPATH": "protos:."},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_thread_that_never_returns_does_not_keep_the_process() -> None:
    ended = run(STUCK_THREAD)
    assert ended.returncode == 0, ended.stderr
    assert "closed" in ended.stdout


def test_a_loop_that_is_stuck_is_ended_the_hard_way() -> None:
    ended = run(STUCK_LOOP)
    assert ended.returncode == STUCK
    assert "did not end within its grace" in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("grace", "seconds"), [(0.0, 0.0), (2.0, 0.5), (8.0, 2.0), (20.0, 2.0), (600.0, 2.0)]
)
def test_closing_has_a_small_part_of_the_grace(grace: float, seconds: float) -> None:
    assert closing_seconds(grace) == seconds


async def test_a_pool_that_ends_drops_what_waits_and_gives_what_runs_its_time() -> None:
    pool = BlockingPool(threads=1, max_waiting=1)
    gate = threading.Event()
    running = asyncio.create_task(pool.run(gate.wait))
    waiting = asyncio.create_task(pool.run(gate.wait))
    await asyncio.sleep(0)
    assert not await pool.end(0.01)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    assert await pool.end(60.0)
    assert await running is True
