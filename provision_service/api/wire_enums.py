"""The domain's words and their numbers on the wire, in both directions.

Built from the enums' names at import: a word without a number fails there, not in a call.
"""

from __future__ import annotations

from typing import Final

from agentworkspace.provision.v1 import (
    catalogue_service_pb2,
    error_reason_pb2,
    provision_pb2,
    secret_service_pb2,
    workspace_pb2,
)
from agentworkspace.rpc.wire_enums import numbers, words
from provision_service.domain.catalogue_change import Aspect
from provision_service.domain.lifecycle import (
    NeedsLaunchReason,
    ProvisionOutcome,
    ProvisionReason,
    ProvisionState,
    WorkspaceStatus,
)
from provision_service.domain.probing import Verdict
from provision_service.domain.refusals import REASONS

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

STATUS_OF: Final = words(STATUS)
LAUNCH_REASON_OF: Final = words(LAUNCH_REASON)
STATE_OF: Final = words(STATE)
OUTCOME_OF: Final = words(OUTCOME)
