"""The steps that a box's life is made of, and what may come back of each."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto, unique

from agentworkspace.client.agent.memory import Remembered
from agentworkspace.core.secret import Secret
from agentworkspace.rpc.errors import RpcFailure


class Stopped(Exception):
    """The registry said STOP: the box was replaced, suspended or retired, and should exit."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


@unique
class NextAction(Enum):
    """What a heartbeat's answer asks for."""

    NONE = auto()
    REGISTER = auto()
    STOP = auto()


@dataclass(frozen=True, slots=True)
class Recall:
    """Load what is remembered. Back: Remembered, None, or the OSError."""


@dataclass(frozen=True, slots=True)
class Save:
    """Back: None, or the OSError."""

    remembered: Remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRegister:
    """Back: Admission or RpcFailure."""

    bearer: Secret
    ticket: Secret | None
    token_sha256: str
    request_id: str


@dataclass(frozen=True, slots=True)
class CallHeartbeat:
    """Back: NextAction or RpcFailure."""

    bearer: Secret


@dataclass(frozen=True, slots=True)
class Wait:
    """Back: None, after `seconds` or when woken. `because` is for the log; empty: as usual."""

    seconds: float
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The registry let the box in. `outcome` as on the wire, without its prefix."""

    outcome: str
    incarnation: int
    heartbeat_interval: timedelta


Step = Recall | Save | CallRegister | CallHeartbeat | Wait
Answer = Remembered | Admission | NextAction | RpcFailure | OSError | None
Steps = Generator[Step, Answer, None]
