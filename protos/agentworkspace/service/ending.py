"""Ends a service within its grace, whatever is stuck."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from agentworkspace.server.server import RpcServer
from agentworkspace.service.database import Database
from agentworkspace.service.thread_pool import BlockingPool

# What closing keeps of the grace, after the calls: at most so many seconds, and at most this share.
_CLOSING_SECONDS: Final = 2.0
_CLOSING_SHARE: Final = 0.25
# How long to wait for work whose connections were cut, which ends in much less.
_CUT_SECONDS: Final = 0.5
# After the grace, how long until the process is killed: longer than closing may take.
_LAST_RESORT_SECONDS: Final = 2.0
STUCK: Final = 1


def closing_seconds(grace: float) -> float:
    """The seconds of the grace that calls do not get, because closing needs them."""
    return min(_CLOSING_SECONDS, grace * _CLOSING_SHARE)


async def end_service(
    *,
    server: RpcServer,
    stop: asyncio.Event,
    until_stopped: Collection[asyncio.Task[None]],
    cancelled: Collection[asyncio.Task[None]] = (),
    pools: Collection[BlockingPool],
    database: Database,
    grace: float,
) -> None:
    """Finish running calls, let background work write what it holds in memory, and close.

    All of it happens within `grace` seconds. The tasks `until_stopped` end by themselves once
    `stop` is set; those in `cancelled` are cancelled after them. Whatever still waits for the
    database at the end of the grace is cut off.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + grace
    await server.stop()
    stop.set()
    if until_stopped:
        await asyncio.wait(until_stopped, timeout=max(0.0, give_up - loop.time() - _CUT_SECONDS))
    for task in (*until_stopped, *cancelled):
        task.cancel()
    await asyncio.gather(*until_stopped, *cancelled, return_exceptions=True)
    politely = max(0.0, give_up - loop.time() - _CUT_SECONDS)
    await asyncio.gather(*(pool.end(politely) for pool in pools))
    database.cut_off()
    await asyncio.gather(*(pool.end(_CUT_SECONDS) for pool in (*pools, database.connecting)))
    database.close()


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Exit the process at once if the block takes much longer, as when the event loop is stuck."""
    timer = threading.Timer(seconds + _LAST_RESORT_SECONDS, _give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def leave(status: int) -> int:
    """Return the status to exit with; or exit at once, when a thread is stuck.

    Such a thread, which may wait for a name server, would keep the interpreter from ending.
    """
    main = threading.main_thread()
    others = [each for each in threading.enumerate() if each is not main and not each.daemon]
    for each in others:
        each.join(_CUT_SECONDS / len(others))
    stuck = [each for each in others if each.is_alive()]
    if stuck:
        structlog.get_logger("service").warning("ends with threads stuck", threads=len(stuck))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _give_up() -> None:
    structlog.get_logger("service").error("did not end within its grace, ends at once")
    sys.stderr.flush()
    os._exit(STUCK)
