"""The domain's enums and their numbers on the wire, in both directions.

The tables are built by name at import, so a member without a number fails there, not in a call.
"""

from __future__ import annotations

from typing import Final

from agentworkspace.core.delivery_mode import DeliveryMode
from agentworkspace.provision.v1 import (
    billing_service_pb2,
    catalogue_service_pb2,
    error_reason_pb2,
    provision_pb2,
    resolution_pb2,
    secret_service_pb2,
    workspace_pb2,
)
from agentworkspace.rpc.wire_enums import numbers, words
from provision_service.catalogue.catalogue import AuthMode, Protocol
from provision_service.domain.billing import BillingMode, Source
from provision_service.domain.catalogue_change import Aspect
from provision_service.domain.lifecycle import (
    NeedsLaunchReason,
    ProvisionOutcome,
    ProvisionReason,
    ProvisionState,
    WorkspaceStatus,
)
from provision_service.domain.model_choice import ModelSource
from provision_service.domain.plan import Origin
from provision_service.domain.probing import Verdict
from provision_service.domain.records import PlatformCredentialOrigin
from provision_service.domain.refusals import REASONS
from provision_service.domain.scope import Scope
from provision_service.domain.spec import WorkspaceAccess

REASON: Final = numbers(REASONS, error_reason_pb2.ErrorReason, "ERROR_REASON_")
STATUS: Final = numbers(WorkspaceStatus, workspace_pb2.WorkspaceStatus, "WORKSPACE_STATUS_")
NEEDS_LAUNCH: Final = numbers(
    NeedsLaunchReason, workspace_pb2.NeedsLaunchReason, "NEEDS_LAUNCH_REASON_"
)
LAUNCH_REASON: Final = numbers(ProvisionReason, provision_pb2.ProvisionReason, "PROVISION_REASON_")
STATE: Final = numbers(ProvisionState, provision_pb2.ProvisionState, "PROVISION_STATE_")
OUTCOME: Final = numbers(ProvisionOutcome, provision_pb2.ProvisionOutcome, "PROVISION_OUTCOME_")
VERDICT: Final = numbers(Verdict, secret_service_pb2.ProbeVerdict, "PROBE_VERDICT_")
CATALOGUE_ASPECT: Final = numbers(
    Aspect, catalogue_service_pb2.CatalogueAspect, "CATALOGUE_ASPECT_"
)
MODE: Final = numbers(BillingMode, resolution_pb2.BillingMode, "BILLING_MODE_")
SOURCE: Final = numbers(Source, resolution_pb2.BillingSource, "BILLING_SOURCE_")
MODEL_SOURCE: Final = numbers(ModelSource, resolution_pb2.ModelSource, "MODEL_SOURCE_")
DELIVERY_MODE: Final = numbers(DeliveryMode, workspace_pb2.DeliveryMode, "DELIVERY_MODE_")
ACCESS: Final = numbers(WorkspaceAccess, workspace_pb2.WorkspaceAccess, "WORKSPACE_ACCESS_")
SCOPE: Final = numbers(Scope, secret_service_pb2.SecretScope, "SECRET_SCOPE_")
CREDENTIAL_ORIGIN: Final = numbers(
    PlatformCredentialOrigin,
    secret_service_pb2.PlatformCredentialOrigin,
    "PLATFORM_CREDENTIAL_ORIGIN_",
)
VALUE_ORIGIN: Final = numbers(Origin, provision_pb2.ValueOrigin, "VALUE_ORIGIN_")
PROTOCOL: Final = numbers(Protocol, catalogue_service_pb2.ProviderProtocol, "PROVIDER_PROTOCOL_")
AUTH_MODE: Final = numbers(AuthMode, catalogue_service_pb2.AuthMode, "AUTH_MODE_")
# Stored as a billing mode; it only decides whether global secrets may be vendors' keys.
GLOBAL_VENDOR_KEYS: Final = {
    BillingMode.BYOK: billing_service_pb2.GLOBAL_VENDOR_KEYS_ALLOWED,
    BillingMode.PLATFORM_MANAGED: billing_service_pb2.GLOBAL_VENDOR_KEYS_REFUSED,
}

STATUS_OF: Final = words(STATUS)
LAUNCH_REASON_OF: Final = words(LAUNCH_REASON)
STATE_OF: Final = words(STATE)
OUTCOME_OF: Final = words(OUTCOME)
MODE_OF: Final = words(MODE)
DELIVERY_MODE_OF: Final = words(DELIVERY_MODE)
ACCESS_OF: Final = words(ACCESS)
GLOBAL_VENDOR_KEYS_OF: Final = words(GLOBAL_VENDOR_KEYS)
