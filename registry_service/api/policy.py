"""Who may call which method. The server does not start unless every method has its line."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from google.protobuf.descriptor import ServiceDescriptor

from agentworkspace.registry.v1 import (
    audit_service_pb2,
    registration_service_pb2,
    system_service_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from agentworkspace.rpc.policy import INFRASTRUCTURE, Lane, Policy, Rule

SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    token_service_pb2.DESCRIPTOR.services_by_name["TokenService"],
    registration_service_pb2.DESCRIPTOR.services_by_name["RegistrationService"],
    workspace_registry_service_pb2.DESCRIPTOR.services_by_name["WorkspaceRegistryService"],
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
    system_service_pb2.DESCRIPTOR.services_by_name["SystemService"],
)

_ADMIN: Final = frozenset({"admin"})
_LAUNCHER: Final = frozenset({"launcher"})
_VERIFIER: Final = frozenset({"verifier"})

_BY_ADMIN: Final = Rule(roles=_ADMIN)
# MintToken comes by the thousand and writes an audit row each time; a log line besides would make
# each call a tenth slower.
_BY_ADMIN_OFTEN: Final = replace(_BY_ADMIN, quiet=True)
# A token may also do this to itself; the command checks that it is the token in question.
_BY_ADMIN_OR_ITSELF: Final = Rule(roles=_ADMIN, bearer_allowed=True)
_BY_LAUNCHER: Final = Rule(roles=_LAUNCHER)
_BY_ANY_CALLER: Final = Rule(any_caller=True)
_BY_VERIFIER: Final = Rule(roles=_VERIFIER, lane=Lane.CHECK, quiet=True)
# A box that lost its token must still reach the command, which alone can tell it what to do next.
_BY_BOX: Final = Rule(bearer_allowed=True, anonymous_allowed=True, lane=Lane.AGENT)
_BY_BOX_OFTEN: Final = replace(_BY_BOX, quiet=True)

_TOKENS: Final = "/agentworkspace.registry.v1.TokenService/"
_REGISTRATION: Final = "/agentworkspace.registry.v1.RegistrationService/"
_WORKSPACES: Final = "/agentworkspace.registry.v1.WorkspaceRegistryService/"
_AUDIT: Final = "/agentworkspace.registry.v1.AuditService/"
_SYSTEM: Final = "/agentworkspace.registry.v1.SystemService/"

POLICY: Final[Policy] = {
    **INFRASTRUCTURE,
    _TOKENS + "MintToken": _BY_ADMIN_OFTEN,
    _TOKENS + "RotateToken": _BY_ADMIN_OR_ITSELF,
    _TOKENS + "ListTokens": _BY_LAUNCHER,
    _TOKENS + "RevokeToken": _BY_ADMIN_OR_ITSELF,
    _TOKENS + "RevokeWorkspaceTokens": _BY_ADMIN,
    _TOKENS + "ValidateToken": _BY_VERIFIER,
    _TOKENS + "BatchValidateTokens": _BY_VERIFIER,
    _TOKENS + "WatchRevocations": _BY_VERIFIER,
    _REGISTRATION + "Register": _BY_BOX,
    _REGISTRATION + "Heartbeat": _BY_BOX_OFTEN,
    _REGISTRATION + "UpdateCard": _BY_BOX,
    _REGISTRATION + "Deregister": _BY_BOX,
    _REGISTRATION + "WhoAmI": _BY_BOX,
    _WORKSPACES + "AdmitWorkspace": _BY_LAUNCHER,
    _WORKSPACES + "BeginIncarnation": _BY_LAUNCHER,
    _WORKSPACES + "BatchAdmitWorkspaces": _BY_LAUNCHER,
    _WORKSPACES + "BatchBeginIncarnations": _BY_LAUNCHER,
    _WORKSPACES + "GetRegistration": _BY_LAUNCHER,
    _WORKSPACES + "ListRegistrations": _BY_LAUNCHER,
    _WORKSPACES + "RetireWorkspace": _BY_LAUNCHER,
    _WORKSPACES + "Diagnose": _BY_LAUNCHER,
    _AUDIT + "ListAuditEvents": _BY_ADMIN,
    _SYSTEM + "GetSystemInfo": _BY_ANY_CALLER,
}
