"""The steps of a box's life, and for each the answer that whoever performs it sends back."""

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
    """Why the registry told a box to stop."""

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
    """The registry said STOP, after which the box should exit. `cause` says why.

    `reason` is the full ErrorReason name on the wire, such as
    ERROR_REASON_INCARNATION_SUPERSEDED; NEXT_ACTION_STOP when only a heartbeat said it.
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
    """Load what is remembered. Answer: Remembered, None, or the OSError."""


@dataclass(frozen=True, slots=True)
class Save:
    """Save this. Answer: None, or the OSError."""

    remembered: Remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRegister:
    """Call Register. Answer: Admission or RpcFailure."""

    bearer: Secret
    ticket: Secret | None
    token_sha256: str
    request_id: str


@dataclass(frozen=True, slots=True)
class CallHeartbeat:
    """Call Heartbeat. Answer: NextAction or RpcFailure."""

    bearer: Secret


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for `seconds`, or until woken. Answer: None.

    `because` is for the log; it is empty for the usual wait between heartbeats.
    """

    seconds: float
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The registry admitted the box. `outcome` is the RegisterOutcome's name without its prefix."""

    outcome: str
    incarnation: int
    heartbeat_interval: timedelta


Step = Recall | Save | CallRegister | CallHeartbeat | Wait
Answer = Remembered | Admission | NextAction | RpcFailure | OSError | None
Steps = Generator[Step, Answer, None]
