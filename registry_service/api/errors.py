"""Turns an exception into what the client may see.

Each reason has one status code and one default recovery.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import grpc

from agentworkspace.core.refusal import AnyReason, Recovery
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.server.meanings import (
    SHARED_MEANINGS,
    Meaning,
    failure_of,
    fix,
    retry,
)
from agentworkspace.service.store_faults import what_a_client_may_see
from registry_service.domain.refusals import Reason

DOMAIN: Final = "agentworkspace.registry"
Code = grpc.StatusCode

MEANINGS: Final[Mapping[AnyReason, Meaning]] = {
    **SHARED_MEANINGS,
    Reason.TENANT_MISMATCH: fix(Code.ALREADY_EXISTS),
    Reason.TOKEN_UNKNOWN: fix(Code.NOT_FOUND),
    Reason.TOKEN_NOT_LIVE: fix(Code.FAILED_PRECONDITION),
    Reason.TOKEN_KIND: fix(Code.FAILED_PRECONDITION),
    Reason.INSTANCE_TOKEN_EXISTS: fix(Code.FAILED_PRECONDITION),
    Reason.BEARER_MISSING: Meaning(Code.UNAUTHENTICATED, Recovery.RELAUNCH),
    Reason.INCARNATION_SUPERSEDED: retry(Code.FAILED_PRECONDITION),
    Reason.TICKET_REQUIRED: Meaning(Code.UNAUTHENTICATED, Recovery.RELAUNCH),
    Reason.TICKET_EXPIRED: Meaning(Code.UNAUTHENTICATED, Recovery.RELAUNCH),
}


def translate(error: Exception) -> RpcFailure:
    """The failure to answer with when a servicer raised `error`."""
    return failure_of(what_a_client_may_see(error), DOMAIN, MEANINGS)
