"""The domain's words and their numbers on the wire, in both directions.

Built from the enums' names at import: a word without a number fails there, not in a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from agentworkspace.registry.v1 import (
    error_reason_pb2,
    registration_service_pb2,
    token_pb2,
    token_service_pb2,
    workspace_registry_service_pb2,
)
from registry_service.commands.issued import Delivery
from registry_service.commands.validate_tokens import Rejection
from registry_service.domain.admission import NextAction
from registry_service.domain.liveness import RegistrationState
from registry_service.domain.refusals import Reason
from registry_service.domain.standing import Fence
from registry_service.domain.tokens import Outcome, RevokeReason, TokenKind

Word = TypeVar("Word", bound=StrEnum)
Number = TypeVar("Number", bound=int)
Number_co = TypeVar("Number_co", bound=int, covariant=True)


class _WireEnum(Protocol[Number_co]):
    def Value(self, name: str) -> Number_co: ...  # noqa: N802 - protobuf's own name


def _numbers(words: type[Word], wire: _WireEnum[Number], prefix: str) -> Mapping[Word, Number]:
    return {word: wire.Value(prefix + word.value) for word in words}


def number(table: Mapping[Word, Number], word: Word | None, unspecified: Number) -> Number:
    return unspecified if word is None else table[word]


KIND: Final = _numbers(TokenKind, token_pb2.TokenKind, "TOKEN_KIND_")
REVOKE_REASON: Final = _numbers(RevokeReason, token_pb2.RevokeReason, "REVOKE_REASON_")
DELIVERY: Final = _numbers(Delivery, token_pb2.SecretDelivery, "SECRET_DELIVERY_")
REJECTION: Final = _numbers(Rejection, token_service_pb2.RejectionReason, "REJECTION_REASON_")
OUTCOME: Final = _numbers(Outcome, registration_service_pb2.RegisterOutcome, "REGISTER_OUTCOME_")
NEXT_ACTION: Final = _numbers(NextAction, registration_service_pb2.NextAction, "NEXT_ACTION_")
STATE: Final = _numbers(
    RegistrationState, workspace_registry_service_pb2.RegistrationState, "REGISTRATION_STATE_"
)
FENCE: Final = _numbers(Fence, workspace_registry_service_pb2.Fence, "FENCE_")
REASON: Final = _numbers(Reason, error_reason_pb2.ErrorReason, "ERROR_REASON_")

BEARER_KIND_OF: Final[dict[int, TokenKind]] = {
    KIND[kind]: kind for kind in (TokenKind.API, TokenKind.INSTANCE)
}
KIND_OF: Final[dict[int, TokenKind]] = {number: kind for kind, number in KIND.items()}
REVOKE_REASON_OF: Final[dict[int, RevokeReason]] = {
    number: reason for reason, number in REVOKE_REASON.items()
}
STATE_OF: Final[dict[int, RegistrationState]] = {number: state for state, number in STATE.items()}
