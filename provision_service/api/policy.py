"""Who may call what: one line per method of every service that this server mounts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import ServiceDescriptor

from agentworkspace.provision.v1 import (
    audit_service_pb2,
    billing_service_pb2,
    catalogue_service_pb2,
    secret_service_pb2,
    system_service_pb2,
    workspace_service_pb2,
)
from agentworkspace.rpc.policy import INFRASTRUCTURE, Lane, Policy, Rule

_PACKAGE: Final = "agentworkspace.provision.v1"

LAUNCHER: Final = Rule(roles=frozenset({"launcher"}))
ADMIN: Final = Rule(roles=frozenset({"admin"}))
ANY_CALLER: Final = Rule(any_caller=True)
# Secrets for a box: only its own instance token will do; the command asks the registry.
BOX: Final = Rule(bearer_allowed=True, lane=Lane.AGENT)
# The catalogue is the same for everybody; a box's token is checked at the registry.
ANYBODY: Final = Rule(any_caller=True, bearer_allowed=True, lane=Lane.AGENT)

SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    workspace_service_pb2.DESCRIPTOR.services_by_name["WorkspaceService"],
    billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"],
    secret_service_pb2.DESCRIPTOR.services_by_name["SecretService"],
    catalogue_service_pb2.DESCRIPTOR.services_by_name["CatalogueService"],
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
    system_service_pb2.DESCRIPTOR.services_by_name["SystemService"],
)

_LINES: Final[dict[str, dict[str, Rule]]] = {
    "WorkspaceService": {
        "CreateWorkspace": LAUNCHER,
        "GetWorkspace": LAUNCHER,
        "ListWorkspaces": LAUNCHER,
        "UpdateWorkspace": LAUNCHER,
        "RemoveWorkspace": LAUNCHER,
        "ProvisionWorkspace": LAUNCHER,
        "ExtendProvision": LAUNCHER,
        "CompleteProvision": LAUNCHER,
        "GetProvision": LAUNCHER,
        "ListProvisions": LAUNCHER,
    },
    "BillingService": {
        "ResolveBillingMode": LAUNCHER,
        "PreviewBillingMode": LAUNCHER,
        "SetBillingModeOverride": LAUNCHER,
        "SetTenantBilling": ADMIN,
    },
    "SecretService": {
        "SetGlobalSecret": LAUNCHER,
        "DeleteGlobalSecret": LAUNCHER,
        "SetWorkspaceSecret": LAUNCHER,
        "AssignSecretProvider": LAUNCHER,
        "DeleteWorkspaceSecret": LAUNCHER,
        "ListSecrets": LAUNCHER,
        "GetSecretValues": BOX,
        "CheckCredentials": LAUNCHER,
        "AuditSharedSecrets": ADMIN,
        "RegisterPlatformCredential": ADMIN,
        "ListPlatformCredentials": ADMIN,
        "UnregisterPlatformCredential": ADMIN,
    },
    "CatalogueService": {
        "ListProviders": ANYBODY,
        "ListRuntimes": ANYBODY,
        "ListModels": ANYBODY,
        "DeriveProvider": ANYBODY,
        "PreviewCatalogue": ADMIN,
    },
    "AuditService": {"ListAuditEvents": ADMIN},
    "SystemService": {"GetSystemInfo": ANY_CALLER},
}


def _policy() -> Iterator[tuple[str, Rule]]:
    for service, methods in _LINES.items():
        for method, rule in methods.items():
            yield f"/{_PACKAGE}.{service}/{method}", rule


POLICY: Final[Policy] = {**dict(_policy()), **INFRASTRUCTURE}
