"""Calls that failed, told so that an operator knows what to do next."""

from __future__ import annotations

from typing import Any, Final

import grpc

from agentworkspace.ctl.command import ExitCode
from agentworkspace.ctl.output import Grid, as_json, as_text
from agentworkspace.rpc.errors import RpcFailure, failure_from

_NOBODY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# Whether the change was made is not known, or it is worth asking again.
_REPEATABLE: Final = _NOBODY | {grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL}


def failure_of(error: grpc.RpcError, correlation_id: str) -> RpcFailure:
    """The failure, under the id that was sent when nobody answered with one."""
    failure = failure_from(error)
    failure.correlation_id = failure.correlation_id or correlation_id
    return failure


def exit_code(failure: RpcFailure) -> ExitCode:
    """What a service refused names a reason; without one nobody of ours has spoken."""
    unanswered = not failure.reason and failure.code in _NOBODY
    return ExitCode.UNREACHABLE if unanswered else ExitCode.REFUSED


def told(failure: RpcFailure, *, request_id: str | None, json: bool) -> str:
    """The failure with everything that it says, for standard error."""
    repeat = request_id if failure.code in _REPEATABLE else None
    if json:
        return as_json({"error": _document(failure, repeat)})
    reason = failure.reason.removeprefix("ERROR_REASON_")
    head = "unreachable" if exit_code(failure) == ExitCode.UNREACHABLE else "refused"
    rows = [
        ("reason", f"{reason} ({failure.code.name})" if reason else failure.code.name),
        ("message", failure.message or "-"),
        ("recovery", str(failure.recovery)),
        ("correlation id", failure.correlation_id or "-"),
    ]
    if failure.retry_after is not None:
        rows.append(("retry after", f"{failure.retry_after.total_seconds():g} s"))
    rows += [(f"  {name}", value) for name, value in sorted(failure.metadata.items())]
    if reason == "CREDENTIAL_MISSING":
        rows.append(("remedy", "name your credential: --token-file or WORKSPACECTL_TOKEN_FILE"))
    if repeat:
        rows.append(("repeat with", f"--request-id {repeat}"))
    grids = [Grid(head, (), tuple(rows))]
    if failure.violations:
        found = tuple((each.field or "-", each.description) for each in failure.violations)
        grids.append(Grid("violations", ("FIELD", "WHAT IS WRONG"), found))
    return as_text(grids)


def _document(failure: RpcFailure, request_id: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "code": failure.code.name,
        "domain": failure.domain,
        "reason": failure.reason,
        "message": failure.message,
        "recovery": str(failure.recovery),
        "correlationId": failure.correlation_id,
        "metadata": failure.metadata,
        "violations": [
            {"field": each.field, "description": each.description} for each in failure.violations
        ],
    }
    if failure.retry_after is not None:
        found["retryAfter"] = f"{failure.retry_after.total_seconds():g}s"
    if request_id:
        found["requestId"] = request_id
    return found
