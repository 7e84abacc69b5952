"""Calls that failed, told so that an operator knows what to do next."""

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
# Whether the change was made is not known, or it is worth asking again.
_REPEATABLE: Final = _NOBODY | {grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL}


def failure_of(error: grpc.RpcError, session: Session) -> RpcFailure:
    """The failure, under the id that was sent when nobody answered with one."""
    failure = failure_from(error)
    failure.correlation_id = failure.correlation_id or session.correlation_id
    failure.violations = tuple(_in_its_file(each, session) for each in failure.violations)
    return failure


def _in_its_file(violation: Violation, session: Session) -> Violation:
    """`text:7: …` as `new.yaml:7: …`, where the text was that file's."""
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
    """The failure with everything that it says, for standard error."""
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
    """What to do about it, for a person at a shell. The failure's message becomes one for people:
    rules in place of the names of fields, and nothing that only gRPC understands.
    """
    if failure.violations:
        failure.message = "; ".join(map(_rule, failure.violations))
    reason = failure.reason.removeprefix("ERROR_REASON_")
    step = BY_REASON.get(reason, "")
    if failure.violations:
        step = "mend this and say it again; the command's --help shows what each argument takes"
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
