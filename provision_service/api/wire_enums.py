"""The domain's words and their numbers on the wire, in both directions.

Built from the enums' names at import: a word without a number fails there, not in a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol, TypeVar

from agentworkspace.provision.v1 import (
    error_reason_pb2,
    provision_pb2,
    secret_service_pb2,
    workspace_pb2,
)
from provision_service.domain.lifecycle import (
    NeedsLaunchReason,
    ProvisionOutcome,
    ProvisionReason,
    ProvisionState,
    WorkspaceStatus,
)
from provision_service.domain.probing import Verdict
from provision_service.domain.refusals import Reason

Word = TypeVar("Word", bound=StrEnum)
Number_co = TypeVar("Number_co", bound=int, covariant=True)


class _WireEnum(Protocol[Number_co]):
    def Value(self, name: str) -> Number_co: ...  # noqa: N802 - protobuf's own name


def _numbers(
    words: type[Word], wire: _WireEnum[Number_co], prefix: str
) -> Mapping[Word, Number_co]:
    return {word: wire.Value(prefix + word.value) for word in words}


def _words(numbers: Mapping[Word, int]) -> dict[int, Word]:
    return {int(number): word for word, number in numbers.items()}


REASON: Final = _numbers(Reason, error_reason_pb2.ErrorReason, "ERROR_REASON_")
STATUS: Final = _numbers(WorkspaceStatus, workspace_pb2.WorkspaceStatus, "WORKSPACE_STATUS_")
NEEDS_LAUNCH: Final = _numbers(
    NeedsLaunchReason, workspace_pb2.NeedsLaunchReason, "NEEDS_LAUNCH_REASON_"
)
LAUNCH_REASON: Final = _numbers(ProvisionReason, provision_pb2.ProvisionReason, "PROVISION_REASON_")
STATE: Final = _numbers(ProvisionState, provision_pb2.ProvisionState, "PROVISION_STATE_")
OUTCOME: Final = _numbers(ProvisionOutcome, provision_pb2.ProvisionOutcome, "PROVISION_OUTCOME_")
VERDICT: Final = _numbers(Verdict, secret_service_pb2.ProbeVerdict, "PROBE_VERDICT_")

STATUS_OF: Final = _words(STATUS)
LAUNCH_REASON_OF: Final = _words(LAUNCH_REASON)
STATE_OF: Final = _words(STATE)
OUTCOME_OF: Final = _words(OUTCOME)
