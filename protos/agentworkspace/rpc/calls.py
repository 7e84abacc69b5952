"""The call being served: who calls, under which correlation id, and how long is left."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from agentworkspace.core.caller import Caller
from agentworkspace.core.refusal import Refusal, SharedReason
from agentworkspace.core.secret import Secret
from agentworkspace.rpc.redaction import is_token_shaped

_CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_current: Final[ContextVar[Call | None]] = ContextVar("agentworkspace_call", default=None)


@dataclass(slots=True)
class Call:
    """What the edge established about a call before the servicer saw it.

    `caller` is set when the credentials file knows the presented secret. Otherwise `bearer` holds
    that secret, for a command that takes workspace tokens to check. `deadline` is in seconds of
    `time.monotonic()`; infinite for a stream without one. `span` is OpenTelemetry's, None when no
    spans are made.
    """

    method: str
    correlation_id: str
    deadline: float = math.inf
    caller: Caller | None = None
    bearer: Secret | None = None
    span: Any = None

    def require_caller(self) -> Caller:
        """The caller from the credentials file. Raises CREDENTIAL_REJECTED for a box.

        The policy table should have kept boxes from a method that asks this.
        """
        if self.caller is None:
            raise Refusal(
                SharedReason.CREDENTIAL_REJECTED, "this method is for callers of the platform"
            )
        return self.caller

    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.deadline - time.monotonic())


def current() -> Call:
    """The call being served. LookupError outside of one."""
    call = _current.get()
    if call is None:
        raise LookupError("no call is being served here")
    return call


def current_or_none() -> Call | None:
    return _current.get()


def current_correlation_id() -> str | None:
    """The id of the call being served, to send with calls made for it; None outside of one."""
    call = _current.get()
    return None if call is None else call.correlation_id


def enter(call: Call) -> None:
    """Make this the current call of the running task (and of contexts copied from it)."""
    _current.set(call)


def correlation_id_of(arrived: str | None, fresh: Callable[[], str]) -> str:
    """The id that a call came with, when it is acceptable; a fresh one otherwise."""
    return arrived if arrived is not None and is_correlation_id(arrived) else fresh()


def is_correlation_id(text: str) -> bool:
    """Whether an id from outside is acceptable: short, plain, and no token put there by mistake."""
    return _CORRELATION_ID.fullmatch(text) is not None and not is_token_shaped(text)
