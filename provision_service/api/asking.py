"""Who asks, in the words of the core."""

from __future__ import annotations

from agentworkspace.rpc import calls
from provision_service.commands.call import Call
from provision_service.domain.caller import Caller
from provision_service.domain.refusals import Reason, Refusal
from provision_service.domain.secret import Secret


def call(served: calls.Call) -> Call:
    """The platform's caller. The policy table lets nobody else reach a method that asks this."""
    known = served.caller
    if known is None:
        raise Refusal(Reason.CREDENTIAL_REJECTED, "this method is for callers of the platform")
    return Call(
        caller=Caller(known.name, known.roles, known.tenants),
        method=served.method,
        correlation_id=served.correlation_id,
    )


def bearer(served: calls.Call) -> Secret | None:
    """The secret that was presented and named no caller: the command looks what it is."""
    return Secret(served.bearer.reveal()) if served.bearer else None
