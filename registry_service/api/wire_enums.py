"""Which domain enum value has which number on the wire, in both directions.

The tables are built from the enums' names at import, so that a value without a number fails
there and not in a call.
"""

from __future__ import annotations

from typing import Final

from agentworkspace.core.delivery_mode import DeliveryMode
from agentworkspace.core.refusal import Recovery
from agentworkspace.registry.v1 import (
    admission_line_pb2,
    error_reason_pb2,
    registration_service_pb2,
    token_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from agentworkspace.rpc.wire_enums import numbers, words
from registry_service.commands.issued import Delivery
from registry_service.commands.validate_tokens import Rejection
from registry_service.domain.admission import NextAction
from registry_service.domain.admission_line import AdmissionLine
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.refusals import REASONS
from registry_service.domain.relaunch import RelaunchReason, TicketState
from registry_service.domain.standing import Fence
from registry_service.domain.tokens import Outcome, RevokeReason, TokenKind

KIND: Final = numbers(TokenKind, token_pb2.TokenKind, "TOKEN_KIND_")
REVOKE_REASON: Final = numbers(RevokeReason, token_pb2.RevokeReason, "REVOKE_REASON_")
DELIVERY: Final = numbers(Delivery, token_pb2.SecretDelivery, "SECRET_DELIVERY_")
REJECTION: Final = numbers(Rejection, token_service_pb2.RejectionReason, "REJECTION_REASON_")
OUTCOME: Final = numbers(Outcome, registration_service_pb2.RegisterOutcome, "REGISTER_OUTCOME_")
NEXT_ACTION: Final = numbers(NextAction, registration_service_pb2.NextAction, "NEXT_ACTION_")
STATE: Final = numbers(
    RegistrationState, workspace_registry_service_pb2.RegistrationState, "REGISTRATION_STATE_"
)
RELAUNCH_REASON: Final = numbers(
    RelaunchReason, workspace_registry_service_pb2.RelaunchReason, "RELAUNCH_REASON_"
)
TICKET_STATE: Final = numbers(
    TicketState, workspace_registry_service_pb2.TicketState, "TICKET_STATE_"
)
FENCE: Final = numbers(Fence, workspace_registry_service_pb2.Fence, "FENCE_")
REASON: Final = numbers(REASONS, error_reason_pb2.ErrorReason, "ERROR_REASON_")
DELIVERY_MODE: Final = numbers(
    DeliveryMode, registration_service_pb2.DeliveryMode, "DELIVERY_MODE_"
)
LINE: Final = numbers(AdmissionLine, admission_line_pb2.AdmissionLine, "ADMISSION_LINE_")
RECOVERY: Final = numbers(Recovery, workspace_registry_service_pb2.Recovery, "RECOVERY_")

BEARER_KIND_OF: Final[dict[int, TokenKind]] = {
    KIND[kind]: kind for kind in (TokenKind.API, TokenKind.INSTANCE)
}
# The kinds that a verifier may require; a ticket is only ever shown to the registry itself.
CHECKED_KIND_OF: Final[dict[int, TokenKind]] = BEARER_KIND_OF | {
    KIND[TokenKind.PROXY]: TokenKind.PROXY
}
KIND_OF: Final = words(KIND)
REVOKE_REASON_OF: Final = words(REVOKE_REASON)
RELAUNCH_REASON_OF: Final = words(RELAUNCH_REASON)
STATE_OF: Final = words(STATE)
DELIVERY_MODE_OF: Final = words(DELIVERY_MODE)
