"""Describes calls that failed, so that an operator knows what to do next."""

from __future__ import annotations

import sys
from typing import Any, Final

import grpc

from agentworkspace.core.refusal import Recovery, Violation
from agentworkspace.ctl.command import ExitCode
from agentworkspace.ctl.connection import Session
from agentworkspace.ctl.identity import OTHER, is_part_of
from agentworkspace.ctl.next_steps import BY_REASON, BY_RECOVERY
from agentworkspace.ctl.output import Grid
from agentworkspace.ctl.printing import as_json, as_text, console
from agentworkspace.ctl.reach import reach
from agentworkspace.rpc.errors import NONE_SERVES, RpcFailure, failure_from

_NOBODY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# The change may have been made, or would be made by repeating the call: worth the same request id.
_REPEATABLE: Final = _NOBODY | {grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL}


def failure_of(error: grpc.RpcError, session: Session) -> RpcFailure:
    """What the error says. Without a correlation id in the answer it has the one that was sent."""
    failure = failure_from(error)
    failure.correlation_id = failure.correlation_id or session.correlation_id
    failure.violations = tuple(_in_its_file(each, session) for each in failure.violations)
    return failure


def _in_its_file(violation: Violation, session: Session) -> Violation:
    """Name the file instead of the field that it was sent in: `text:7: …` is `new.yaml:7: …`."""
    file = session.files.get(violation.field)
    if file is None:
        return violation
    said = violation.description
    at_a_line = said.startswith(f"{violation.field}:")
    return Violation("", file + (said.removeprefix(violation.field) if at_a_line else f" {said}"))


def exit_code(failure: RpcFailure) -> ExitCode:
    """A refusal of a service names its reason; a failure without one came from the way there."""
    unanswered = not failure.reason and failure.code in _NOBODY
    return ExitCode.UNREACHABLE if unanswered else ExitCode.REFUSED


def told(failure: RpcFailure, session: Session, *, request_id: str | None, form: str) -> str:
    """Everything that the failure says, for standard error: for people, or as JSON."""
    repeat = request_id if failure.code in _REPEATABLE else None
    step = explain(failure, session)
    if form == "json":
        return as_json({"error": _document(failure, step, repeat)})
    reason = failure.reason.removeprefix("ERROR_REASON_")
    head = "unreachable" if exit_code(failure) == ExitCode.UNREACHABLE else "refused"
    what = list(map(_rule, failure.violations)) or [failure.message or "-"]
    rows = [*zip(("what", *("",) * len(what)), what, strict=False), ("next step", step)]
    rows.append(("reason", f"{reason} ({failure.code.name})" if reason else failure.code.name))
    if failure.retry_after is not None:
        rows.append(("retry after", f"{failure.retry_after.total_seconds():g} s"))
    if repeat:
        rows.append(("repeat with", f"--request-id {repeat}"))
    known = {} if failure.violations else failure.metadata
    rows += [(f"  {name}", value) for name, value in sorted(known.items())]
    rows.append(("correlation id", failure.correlation_id or "-"))
    if reason:
        rows.append(("more", f"workspacectl explain {reason}"))
    return as_text((Grid(head, (), tuple(rows)),), console(sys.stderr))


def explain(failure: RpcFailure, session: Session) -> str:
    """The next step, for a person at a shell.

    It also replaces the failure's message by one for people: the rules that the request broke, or
    why the service could not be reached.
    """
    if failure.violations:
        failure.message = "; ".join(map(_rule, failure.violations))
    reason = failure.reason.removeprefix("ERROR_REASON_")
    step = BY_REASON.get(reason, "")
    if failure.violations:
        step = "correct this and repeat it; the command's --help shows what each argument takes"
    if not reason and session.asked:
        step = _explain_transport(failure, session)
    return step or BY_RECOVERY[Recovery(failure.recovery)]


def _rule(violation: Violation) -> str:
    return f"{violation.field} {violation.description}".strip()


def _explain_transport(failure: RpcFailure, session: Session) -> str:
    """No service has answered: find out what is at the address, and why it cannot be reached."""
    service = session.asked
    address, option = session.addresses[service], f"--{service}"
    if failure.message == NONE_SERVES:
        return f"`workspacectl doctor {option} HOST:PORT` of one of them looks why; then try again"
    if failure.code is grpc.StatusCode.UNAVAILABLE:
        found = reach(address, session.tls_for(address), option=option)
        if found.fault:
            failure.message = f"{service}: {found.fault}"
        return found.remedy
    if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        span = f"{session.timeout_seconds:g} s"
        failure.message = f"{service} at {address} did not answer within {span}"
        return "wait longer with --timeout SECONDS; `workspacectl doctor` looks why"
    if failure.code is not grpc.StatusCode.UNIMPLEMENTED:
        return ""
    if is_part_of(session, service, service):
        failure.message = f"the {service} service at {address} does not know this call: it is older"
        return "use the workspacectl of its version, or upgrade it (see workspacectl doctor)"
    other = f"the {OTHER[service]} service"
    there = other if is_part_of(session, service, OTHER[service]) else "something else"
    failure.message = f"{there} is at {address}, and not the {service} service"
    return f"name the address of the {service} service with {option} HOST:PORT"


def _document(failure: RpcFailure, step: str, request_id: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "code": failure.code.name,
        "domain": failure.domain,
        "reason": failure.reason,
        "message": failure.message,
        "recovery": str(failure.recovery),
        "nextStep": step,
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
