"""Who asks, in the words of the core."""

from __future__ import annotations

from agentworkspace.rpc import calls
from provision_service.commands.call import Call


def call(served: calls.Call) -> Call:
    """The platform's caller and the names of the call. Raises CREDENTIAL_REJECTED for a box."""
    return Call(
        caller=served.require_caller(), method=served.method, correlation_id=served.correlation_id
    )
