"""Who asks, in the words of the core."""

from __future__ import annotations

from agentworkspace.rpc.calls import Call
from registry_service.commands.origin import Origin
from registry_service.domain.caller import Caller
from registry_service.domain.refusals import Reason, Refusal
from registry_service.domain.secret import Secret


def caller(call: Call) -> Caller:
    """The platform's caller. The policy table lets nobody else reach a method that asks this."""
    found = caller_or_none(call)
    if found is None:
        raise Refusal(Reason.CREDENTIAL_REJECTED, "this method is for callers of the platform")
    return found


def caller_or_none(call: Call) -> Caller | None:
    known = call.caller
    return Caller(known.name, known.roles, known.tenants) if known else None


def bearer(call: Call) -> Secret | None:
    """The secret that was presented and named no caller: the command looks what it is."""
    return Secret(call.bearer.reveal()) if call.bearer else None


def origin(call: Call, workspace_id: str = "") -> Origin:
    """For the audit: the caller's name, else the workspace whose token was shown."""
    by_box = call.caller is None or call.bearer is not None
    actor = f"workspace:{workspace_id}" if by_box or call.caller is None else call.caller.name
    return Origin(actor=actor, method=call.method, correlation_id=call.correlation_id)
