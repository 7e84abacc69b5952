"""What all methods behind one edge share, and the streams that are open there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agentworkspace.core.caller import Caller
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.server.capacity import Capacity
from agentworkspace.server.deadline import Deadlines
from agentworkspace.server.edge_failures import EdgeFailures
from agentworkspace.server.shares import Shares
from agentworkspace.server.throttle import Strangers


@dataclass(slots=True)
class OpenStream:
    """A stream being served; `writing` while one of its messages is being handed to gRPC."""

    writing: bool = False


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What all methods behind one edge share; the fields are explained at `Edge`."""

    failures: EdgeFailures
    authenticate: Callable[[str], Caller | None]
    translate: Callable[[Exception], RpcFailure]
    capacity: Capacity
    shares: Shares
    strangers: Strangers
    rejected: Callable[[str, str], None]
    unary_ceiling_seconds: float
    overload_retry_after: timedelta
    new_correlation_id: Callable[[], str]
    logger: Any
    closing: bool = False
    deadlines: Deadlines = field(default_factory=Deadlines)
    streams: dict[asyncio.Task[Any], OpenStream] = field(default_factory=dict)

    def close(self) -> None:
        self.closing = True
        for task, stream in tuple(self.streams.items()):
            # gRPC takes no status while a message is being written; the stream looks afterwards.
            if not stream.writing:
                task.cancel()

    def is_being_closed(self, task: asyncio.Task[Any]) -> bool:
        """Whether the task serves a stream that `close` has cancelled."""
        return self.closing and task in self.streams
