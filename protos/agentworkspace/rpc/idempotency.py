"""Which calls a channel may repeat by itself, and the request_id that makes a call repeatable."""

from __future__ import annotations

from typing import Final, TypeVar

from google.protobuf.message import Message

_REGISTRY: Final = "/agentworkspace.registry.v1."
_PROVISION: Final = "/agentworkspace.provision.v1."

# The methods that change nothing; their comments say "Idempotency: read only", and a test compares.
CHANGES_NOTHING: Final = frozenset(
    {
        f"{_REGISTRY}AuditService/ListAuditEvents",
        f"{_REGISTRY}RegistrationService/WhoAmI",
        f"{_REGISTRY}SystemService/GetSystemInfo",
        f"{_REGISTRY}TokenService/BatchValidateTokens",
        f"{_REGISTRY}TokenService/ListTokens",
        f"{_REGISTRY}TokenService/ValidateToken",
        f"{_REGISTRY}TokenService/WatchRevocations",
        f"{_REGISTRY}WorkspaceRegistryService/Diagnose",
        f"{_REGISTRY}WorkspaceRegistryService/GetRegistration",
        f"{_REGISTRY}WorkspaceRegistryService/ListRegistrations",
        f"{_PROVISION}AuditService/ListAuditEvents",
        f"{_PROVISION}BillingService/PreviewBillingMode",
        f"{_PROVISION}BillingService/ResolveBillingMode",
        f"{_PROVISION}CatalogueService/DeriveProvider",
        f"{_PROVISION}CatalogueService/ListModels",
        f"{_PROVISION}CatalogueService/ListProviders",
        f"{_PROVISION}CatalogueService/ListRuntimes",
        f"{_PROVISION}CatalogueService/PreviewCatalogue",
        f"{_PROVISION}SecretService/AuditSharedSecrets",
        f"{_PROVISION}SecretService/CheckCredentials",
        f"{_PROVISION}SecretService/GetSecretValues",
        f"{_PROVISION}SecretService/ListPlatformCredentials",
        f"{_PROVISION}SecretService/ListSecrets",
        f"{_PROVISION}SystemService/GetSystemInfo",
        f"{_PROVISION}WorkspaceService/GetProvision",
        f"{_PROVISION}WorkspaceService/GetWorkspace",
        f"{_PROVISION}WorkspaceService/ListProvisions",
        f"{_PROVISION}WorkspaceService/ListWorkspaces",
    }
)

REQUEST_ID: Final = "request_id"

Request = TypeVar("Request")


def may_be_repeated(method: str, request: object) -> bool:
    """Whether a second call does no harm even when the first one was carried out.

    That is so when the method changes nothing, and when the request carries a request_id, by which
    the service recognises the repeat, or consists of requests that all do. It is not so for a
    method that is merely idempotent: between the two calls somebody else may have changed the same
    thing.
    """
    parts = getattr(request, "requests", None) or (request,)
    return method in CHANGES_NOTHING or all(getattr(each, REQUEST_ID, "") for each in parts)


def with_request_id(request: Request, request_id: str) -> Request:
    """The request; a copy with this request_id if it takes one and has none."""
    if getattr(request, REQUEST_ID, None) != "" or not isinstance(request, Message):
        return request
    identified = type(request)()
    identified.CopyFrom(request)
    setattr(identified, REQUEST_ID, request_id)
    return identified
