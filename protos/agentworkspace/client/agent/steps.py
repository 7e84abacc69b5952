"""The steps that a box's life is made of, and what may come back of each."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum, auto, unique
from typing import Final

from agentworkspace.client.agent.memory import Remembered
from agentworkspace.core.secret import Secret
from agentworkspace.rpc.errors import RpcFailure


@unique
class StopCause(StrEnum):
    """Why a box is told to stop; the registry says it for no other reason."""

    REPLACED = "a newer launch of this workspace has registered"
    SUSPENDED = "an operator suspended the workspace"
    RETIRED = "the workspace was retired"
    UNKNOWN = "the registry did not say why"


_CAUSES: Final = {
    "ERROR_REASON_INCARNATION_SUPERSEDED": StopCause.REPLACED,
    "ERROR_REASON_WORKSPACE_SUSPENDED": StopCause.SUSPENDED,
    "ERROR_REASON_WORKSPACE_REMOVED": StopCause.RETIRED,
}


class Stopped(Exception):
    """The registry said STOP: `cause` tells whether the box was replaced, suspended or retired.

    In every case it should exit. `reason` is the one on the wire.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.cause = _CAUSES.get(reason, StopCause.UNKNOWN)
        super().__init__(f"{self.cause} ({reason}: {message})")


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
