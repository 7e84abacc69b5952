"""Who asks, as the audit will name them."""

from __future__ import annotations

from agentworkspace.rpc.calls import Call
from registry_service.commands.origin import Origin


def origin(call: Call, workspace_id: str = "") -> Origin:
    """For the audit: the caller's name, else the workspace whose token was shown."""
    by_box = call.caller is None or call.bearer is not None
    actor = f"workspace:{workspace_id}" if by_box or call.caller is None else call.caller.name
    return Origin(actor=actor, method=call.method, correlation_id=call.correlation_id)
