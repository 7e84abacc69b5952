"""From an exception to what the client may see: each reason has one code and one recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import grpc

from agentworkspace.core.refusal import AnyReason, Recovery, Refusal, SharedReason
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.server.meanings import (
    SHARED_MEANINGS,
    Meaning,
    failure_of,
    fix,
    retry,
)
from agentworkspace.service.store_faults import what_a_client_may_see
from provision_service.domain.refusals import Reason
from provision_service.domain.registry_port import RegistryRefused, RegistryUnavailable

DOMAIN: Final = "agentworkspace.provision"
Code = grpc.StatusCode

MEANINGS: Final[Mapping[AnyReason, Meaning]] = {
    **SHARED_MEANINGS,
    # Only the registry can tell that a new launch is needed; the advice here is to register again.
    SharedReason.BEARER_REJECTED: Meaning(Code.UNAUTHENTICATED, Recovery.REGISTER),
    # STOP is for boxes; for a launcher there is a fix: an admin may launch the workspace.
    SharedReason.WORKSPACE_SUSPENDED: fix(Code.FAILED_PRECONDITION),
    Reason.TENANT_UNKNOWN: fix(Code.NOT_FOUND),
    Reason.ETAG_MISMATCH: fix(Code.ABORTED),
    Reason.PARENT_INVALID: fix(Code.FAILED_PRECONDITION),
    Reason.TEMPLATE_UNKNOWN: fix(Code.FAILED_PRECONDITION),
    Reason.FORBIDDEN_ENV_KEY: fix(Code.FAILED_PRECONDITION),
    Reason.SECRET_LIMIT_EXCEEDED: fix(Code.FAILED_PRECONDITION),
    Reason.SECRET_UNDECRYPTABLE: fix(Code.FAILED_PRECONDITION),
    Reason.PLATFORM_CREDENTIAL_COMINGLED: fix(Code.FAILED_PRECONDITION),
    Reason.BYPASS_KEY_REFUSED: fix(Code.FAILED_PRECONDITION),
    Reason.RUNTIME_UNKNOWN: fix(Code.FAILED_PRECONDITION),
    Reason.MODEL_REQUIRED: fix(Code.FAILED_PRECONDITION),
    Reason.MODEL_UNREGISTERED: fix(Code.FAILED_PRECONDITION),
    Reason.MODEL_WITHDRAWN: fix(Code.FAILED_PRECONDITION),
    Reason.PROVIDER_AMBIGUOUS: fix(Code.FAILED_PRECONDITION),
    Reason.MISSING_BYOK_CREDENTIAL: fix(Code.FAILED_PRECONDITION),
    Reason.INVALID_BYOK_CREDENTIAL: fix(Code.FAILED_PRECONDITION),
    Reason.MISSING_PLATFORM_PROXY: fix(Code.FAILED_PRECONDITION),
    Reason.MISSING_REQUIRED_ENV: fix(Code.FAILED_PRECONDITION),
    Reason.PROVISION_UNKNOWN: fix(Code.NOT_FOUND),
    Reason.PROVISION_SUPERSEDED: fix(Code.FAILED_PRECONDITION),
    Reason.PROVISION_IN_PROGRESS: retry(Code.FAILED_PRECONDITION),
    Reason.REGISTRY_UNAVAILABLE: retry(Code.UNAVAILABLE),
}


def _unobserved(_reason: str) -> None:
    """The default observer: counts nothing."""


def translate(error: Exception, observe: Callable[[str], None] = _unobserved) -> RpcFailure:
    """The RPC failure that answers an exception out of a servicer; `observe` is told its reason."""
    refusal = _refusal_of(error)
    observe(refusal.reason)
    failure = failure_of(refusal, DOMAIN, MEANINGS)
    failure.__cause__ = error
    return failure


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, RegistryUnavailable | RegistryRefused):
        return Refusal(Reason.REGISTRY_UNAVAILABLE, "the registry did not answer; call again")
    return what_a_client_may_see(error)
