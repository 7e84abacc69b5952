"""One line, one count and one span per call: who, what, how it ended; never what was in it."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import defaultdict
from typing import Any, Final

import grpc

from agentworkspace.rpc.calls import Call
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.rpc.redaction import Clean
from agentworkspace.server import call_spans
from agentworkspace.server.metrics import MethodMetrics

StatusCode = grpc.StatusCode
_OK: Final = Clean("OK")
_EVENT: Final = Clean("call")

_FAULTS: Final = frozenset({StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS})
_TROUBLES: Final = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.ABORTED,
    }
)


# For each method and reason, so that a storm of refused calls does not fill the disk. The metrics
# count every call.
LINES_A_SECOND: Final = 10


class _Sample:
    """Refusals of one reason: logged in this second, and `unlogged` since the last line."""

    __slots__ = ("began", "logged", "unlogged")

    def __init__(self) -> None:
        self.began = -math.inf
        self.logged = 0
        self.unlogged = 0

    def wants(self, now: float) -> bool:
        if now - self.began >= 1.0:
            self.began = now
            self.logged = 0
        if self.logged < LINES_A_SECOND:
            self.logged += 1
            return True
        self.unlogged += 1
        return False


class CallLog:
    """The log lines, counts and spans of one method's calls. A failure to log never fails the call.

    Every fault is logged. Refusals are sampled: `unlogged` in a line says how many of its kind had
    no line since the one before.
    """

    __slots__ = ("_logger", "_method", "_metrics", "_samples", "_success")

    def __init__(self, method: str, *, quiet: bool, logger: Any, metrics: MethodMetrics) -> None:
        self._method = Clean(method)
        self._logger = logger
        self._metrics = metrics
        self._samples: defaultdict[str, _Sample] = defaultdict(_Sample)
        # Decided once: building a line that the level drops costs as much as the rest of the edge.
        self._success = logger.info
        if quiet:
            enabled = getattr(logger, "is_enabled_for", None)
            wanted = enabled is None or enabled(logging.DEBUG)
            self._success = logger.debug if wanted else None

    def success(self, call: Call, started: float) -> None:
        seconds = time.monotonic() - started
        try:
            self._metrics.observe(call, "OK", "", seconds)
            if call.span is not None:
                call_spans.end(call, "OK", "")
            if self._success is None:
                return
            self._success(
                _EVENT,
                method=self._method,
                caller=call.caller.name if call.caller else None,
                code=_OK,
                ms=round(seconds * 1000, 2),
                correlation_id=Clean(call.correlation_id),
            )
        except Exception:  # noqa: BLE001, S110 - a full disk must not fail the call
            pass

    def refusal(
        self, call: Call, started: float, failure: RpcFailure, error: BaseException | None
    ) -> None:
        seconds = time.monotonic() - started
        inside = failure.__cause__ if error is None or error is failure else error
        try:
            self._metrics.observe(call, failure.code.name, failure.reason, seconds)
            call_spans.end(call, failure.code.name, failure.reason)
            is_fault = failure.code in _FAULTS
            unlogged = {} if is_fault else self._sampled(failure.reason)
            if unlogged is None:
                return
            fields = self._fields(call, failure.code.name, failure.reason, seconds) | unlogged
            if is_fault:
                self._logger.error("call", **fields, exc_info=inside)
            elif failure.code in _TROUBLES:
                self._logger.warning("call", **fields, inside=_inside(inside))
            else:
                self._logger.info("call", **fields)
        except Exception:  # noqa: BLE001, S110 - as above
            pass

    def abandoned(self, call: Call, started: float, code: str, error: BaseException) -> None:
        seconds = time.monotonic() - started
        try:
            self._metrics.observe(call, code, "", seconds)
            call_spans.end(call, code, "")
            unlogged = self._sampled(code)
            if unlogged is not None:
                fields = self._fields(call, code, "", seconds) | unlogged
                self._logger.info("call", **fields, ended_by=type(error).__name__)
        except Exception:  # noqa: BLE001, S110 - as above
            pass

    def broken_translation(self, call: Call, error: Exception) -> None:
        with contextlib.suppress(Exception):
            self._logger.error(
                "translate failed", correlation_id=call.correlation_id, exc_info=error
            )

    def _sampled(self, kind: str) -> dict[str, int] | None:
        """The `unlogged` field of this line, if there is any; None when the line is not written."""
        sample = self._samples[kind]
        if not sample.wants(time.monotonic()):
            return None
        unlogged, sample.unlogged = sample.unlogged, 0
        return {"unlogged": unlogged} if unlogged else {}

    def _fields(self, call: Call, code: str, reason: str, seconds: float) -> dict[str, Any]:
        return {
            "method": self._method,
            "caller": call.caller.name if call.caller else None,
            "code": Clean(code),
            "reason": Clean(reason),
            "ms": round(seconds * 1000, 2),
            "correlation_id": Clean(call.correlation_id),
        }


def _inside(error: BaseException | None) -> str | None:
    """The chain of causes in one line, which the log redacts like everything else."""
    parts: list[str] = []
    while error is not None and len(parts) < 4:
        parts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return " <- ".join(parts) or None
