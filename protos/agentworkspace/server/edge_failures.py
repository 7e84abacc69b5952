"""The failures that the edge itself raises, with the ErrorInfo domain of the service behind it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from agentworkspace.core.refusal import Refusal, SharedReason, internal
from agentworkspace.rpc.errors import RpcFailure
from agentworkspace.server.meanings import SHARED_MEANINGS, failure_of, too_late

_SHARE_RETRY_AFTER: Final = timedelta(seconds=1)


class EdgeFailures:
    """Makes each of them. `domain` is the service's, as its ErrorInfo carries it."""

    def __init__(self, *, domain: str) -> None:
        self._domain = domain

    def malformed_message(self) -> RpcFailure:
        return self._make(
            SharedReason.MALFORMED_MESSAGE,
            "the bytes are not a message of the type that this method takes",
        )

    def request_too_large(self, limit_bytes: int) -> RpcFailure:
        return self._make(
            SharedReason.REQUEST_TOO_LARGE,
            f"the message is larger than {limit_bytes} bytes",
            limit_bytes=str(limit_bytes),
        )

    def credential_missing(self) -> RpcFailure:
        return self._make(
            SharedReason.CREDENTIAL_MISSING,
            "this method needs `authorization: Bearer <secret>` metadata",
        )

    def credential_rejected(self) -> RpcFailure:
        return self._make(
            SharedReason.CREDENTIAL_REJECTED, "the presented credential is unknown or has expired"
        )

    def role_required(self, roles: Iterable[str]) -> RpcFailure:
        listed = ", ".join(sorted(roles))
        return self._make(
            SharedReason.ROLE_REQUIRED,
            f"this method needs one of the roles: {listed}",
            roles=listed,
        )

    def overloaded(self, retry_after: timedelta) -> RpcFailure:
        return self._make(
            SharedReason.OVERLOADED,
            "the service has as much work as it can hold; nothing was done",
            retry_after=retry_after,
        )

    def stranger(self, retry_after: timedelta) -> RpcFailure:
        return self._make(
            SharedReason.RATE_LIMITED,
            "too many calls with an unknown credential came from this address; come back later",
            retry_after=retry_after,
            of="address",
        )

    def share_used_up(self, whose: str, what: str, limit: int) -> RpcFailure:
        return self._make(
            SharedReason.RATE_LIMITED,
            f"the {whose} has {limit} {what} running, the most that it may; end some, or call again"
            " later",
            retry_after=_SHARE_RETRY_AFTER,
            of=whose,
            what=what,
            limit=str(limit),
        )

    def arrived_too_late(self) -> RpcFailure:
        return self._make(
            SharedReason.DEADLINE,
            "the deadline had passed when the call arrived; nothing was done, call again with more"
            " time",
        )

    def deadline(self, method: str) -> RpcFailure:
        return failure_of(too_late(method), self._domain, SHARED_MEANINGS)

    def cancelled(self) -> RpcFailure:
        return self._make(SharedReason.CANCELLED, "the caller hung up")

    def not_available_yet(self, method: str) -> RpcFailure:
        return self._make(
            SharedReason.NOT_AVAILABLE_YET,
            "this version of the service does not do that",
            method=method,
        )

    def shutting_down(self) -> RpcFailure:
        return self._make(SharedReason.SHUTTING_DOWN, "this replica is shutting down; call again")

    def internal(self) -> RpcFailure:
        return failure_of(internal(), self._domain, SHARED_MEANINGS)

    def _make(
        self,
        reason: SharedReason,
        message: str,
        *,
        retry_after: timedelta | None = None,
        **metadata: str,
    ) -> RpcFailure:
        refusal = Refusal(reason, message, metadata=metadata, retry_after=retry_after)
        return failure_of(refusal, self._domain, SHARED_MEANINGS)
