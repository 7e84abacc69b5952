"""The failures that the edge itself finds, in the words of the service behind it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum, unique

import grpc

from agentworkspace.rpc.errors import Recovery, RpcFailure


@unique
class EdgeReason(StrEnum):
    """Short names; every service's ErrorReason enum has a value for each of them."""

    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    CREDENTIAL_MISSING = "CREDENTIAL_MISSING"
    CREDENTIAL_REJECTED = "CREDENTIAL_REJECTED"
    ROLE_REQUIRED = "ROLE_REQUIRED"
    OVERLOADED = "OVERLOADED"
    DEADLINE = "DEADLINE"
    CANCELLED = "CANCELLED"
    NOT_AVAILABLE_YET = "NOT_AVAILABLE_YET"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    INTERNAL = "INTERNAL"


class EdgeFailures:
    """Makes them. `domain` and `reason_prefix` are the service's."""

    def __init__(self, *, domain: str, reason_prefix: str) -> None:
        self._domain = domain
        self._prefix = reason_prefix

    def malformed_message(self) -> RpcFailure:
        return self._make(
            grpc.StatusCode.INVALID_ARGUMENT,
            EdgeReason.MALFORMED_MESSAGE,
            "the bytes are not a message of the type that this method takes",
            Recovery.FIX_REQUEST,
        )

    def request_too_large(self, limit_bytes: int) -> RpcFailure:
        return self._make(
            grpc.StatusCode.INVALID_ARGUMENT,
            EdgeReason.REQUEST_TOO_LARGE,
            f"the message is larger than {limit_bytes} bytes",
            Recovery.FIX_REQUEST,
            limit_bytes=str(limit_bytes),
        )

    def credential_missing(self) -> RpcFailure:
        return self._make(
            grpc.StatusCode.UNAUTHENTICATED,
            EdgeReason.CREDENTIAL_MISSING,
            "this method needs `authorization: Bearer <secret>` metadata",
            Recovery.FIX_REQUEST,
        )

    def credential_rejected(self) -> RpcFailure:
        return self._make(
            grpc.StatusCode.UNAUTHENTICATED,
            EdgeReason.CREDENTIAL_REJECTED,
            "the presented credential is unknown or has expired",
            Recovery.FIX_REQUEST,
        )

    def role_required(self, roles: Iterable[str]) -> RpcFailure:
        listed = ", ".join(sorted(roles))
        return self._make(
            grpc.StatusCode.PERMISSION_DENIED,
            EdgeReason.ROLE_REQUIRED,
            f"this method needs one of the roles: {listed}",
            Recovery.FIX_REQUEST,
            roles=listed,
        )

    def overloaded(self, retry_after: timedelta) -> RpcFailure:
        return self._make(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            EdgeReason.OVERLOADED,
            "the service has as much work as it can hold; nothing was done",
            Recovery.RETRY,
            retry_after=retry_after,
        )

    def deadline(self) -> RpcFailure:
        return self._make(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            EdgeReason.DEADLINE,
            "the deadline passed before the answer was ready",
            Recovery.RETRY,
        )

    def cancelled(self) -> RpcFailure:
        return self._make(
            grpc.StatusCode.CANCELLED, EdgeReason.CANCELLED, "the caller hung up", Recovery.RETRY
        )

    def not_available_yet(self, method: str) -> RpcFailure:
        return self._make(
            grpc.StatusCode.UNIMPLEMENTED,
            EdgeReason.NOT_AVAILABLE_YET,
            "this version of the service does not do that",
            Recovery.FIX_REQUEST,
            method=method,
        )

    def shutting_down(self) -> RpcFailure:
        return self._make(
            grpc.StatusCode.UNAVAILABLE,
            EdgeReason.SHUTTING_DOWN,
            "this replica is shutting down; call again",
            Recovery.RETRY,
        )

    def internal(self) -> RpcFailure:
        return self._make(
            grpc.StatusCode.INTERNAL,
            EdgeReason.INTERNAL,
            "a fault of the service; its log has it under the correlation id",
            Recovery.RETRY,
        )

    def _make(
        self,
        code: grpc.StatusCode,
        reason: EdgeReason,
        message: str,
        recovery: Recovery,
        *,
        retry_after: timedelta | None = None,
        **metadata: str,
    ) -> RpcFailure:
        return RpcFailure(
            code,
            self._domain,
            self._prefix + reason,
            message,
            metadata=metadata,
            retry_after=retry_after,
            recovery=recovery,
        )
