"""What one method or path requires of its callers, and how it refuses them. It never waits."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc

from agentworkspace.client.verifier.principals import Rejected, Rejection, Requirement
from agentworkspace.core.refusal import Recovery
from agentworkspace.core.secret import Secret
from agentworkspace.rpc import calls
from agentworkspace.rpc.errors import RpcFailure

# A refusal must reach the caller before the caller's deadline: this share of the remaining time is
# kept for the way back, but never more than this many seconds.
_KEPT_SHARE: Final = 0.2
_MOST_KEPT_SECONDS: Final = 0.25

_log: Final = logging.getLogger("agentworkspace.verifier")


class Gate:
    """The gate of one method or path. `requirement` None: none is listed, so nobody gets in."""

    def __init__(self, name: str, requirement: Requirement | None, domain: str) -> None:
        self._name = name
        self.requirement = requirement
        self._domain = domain

    def begin(self, bearer: str | None) -> tuple[Secret, Requirement]:
        """The token to check and its requirement. RpcFailure without a token or a requirement."""
        if self.requirement is None:
            _log.error("%s is in no requirement of the interceptor, and closed", self._name)
            raise self._refusal(
                grpc.StatusCode.PERMISSION_DENIED, "METHOD_CLOSED", "nobody may call this method"
            )
        if bearer is None:
            raise self._refusal(
                grpc.StatusCode.UNAUTHENTICATED,
                "BEARER_MISSING",
                "this method needs `authorization: Bearer <token>` metadata",
                Recovery.REGISTER,
            )
        return Secret(bearer), self.requirement

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Turns Rejected, raised in the block, into the RpcFailure for the caller."""
        try:
            yield
        except Rejected as rejected:
            raise self._refused(rejected) from None

    def _refused(self, rejected: Rejected) -> RpcFailure:
        denied = grpc.StatusCode.PERMISSION_DENIED
        if rejected.reason is Rejection.TOKEN_KIND:
            return self._refusal(denied, "TOKEN_KIND", "the token is of another kind")
        if rejected.reason is Rejection.TOKEN_SCOPE:
            return self._refusal(denied, "TOKEN_SCOPE", "the token lacks a scope")
        return self._refusal(
            grpc.StatusCode.UNAUTHENTICATED,
            "BEARER_REJECTED",
            "the presented token is not accepted here",
            Recovery.REGISTER,
        )

    def workspace_of(self, request: Any) -> str | None:
        """The workspace that the request names, when its token must belong to that one; else None.

        AttributeError when the message lacks the `workspace_field` of the requirement.
        """
        path = None if self.requirement is None else self.requirement.workspace_field
        if path is None:
            return None
        for name in path.split("."):
            request = getattr(request, name)
        return str(request)

    def _refusal(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        recovery: Recovery = Recovery.FIX_REQUEST,
    ) -> RpcFailure:
        return RpcFailure(code, self._domain, f"ERROR_REASON_{reason}", message, recovery=recovery)


def correlation_id_of(arrived: str | None) -> str:
    """The id that a refused call came with, if it is acceptable, or a fresh one."""
    return calls.correlation_id_of(arrived, lambda: uuid.uuid4().hex)


def seconds_to_check(remaining: float | None) -> float | None:
    """How long a check may take when a caller's deadline is `remaining` seconds away; None: any."""
    if remaining is None:
        return None
    return max(0.0, remaining - min(_KEPT_SHARE * remaining, _MOST_KEPT_SECONDS))
