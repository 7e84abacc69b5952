"""What one method or path asks of its callers, and how it refuses them: no network, no waiting."""

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

# An answer that says why must reach the caller before its deadline does: so much of what is left
# is kept for the way back, and never more than this many seconds.
_KEPT_SHARE: Final = 0.2
_MOST_KEPT_SECONDS: Final = 0.25

_log: Final = logging.getLogger("agentworkspace.verifier")


class Gate:
    """One method's. `requirement` None: it is in nobody's list, and closed to everybody."""

    def __init__(self, name: str, requirement: Requirement | None, domain: str) -> None:
        self._name = name
        self.requirement = requirement
        self._domain = domain

    def begin(self, bearer: str | None) -> tuple[Secret, Requirement]:
        """What is to be checked, and for what. RpcFailure when there is nothing to check."""
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
        """Where a token is checked: RpcFailure, the answer to its caller, when it is rejected."""
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
        """The workspace that the request names, where its token must be of that one.

        A field that the message does not have is a mistake of the mapping: AttributeError.
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
    """The id that a refused call came with, when it is acceptable; a fresh one otherwise."""
    return calls.correlation_id_of(arrived, lambda: uuid.uuid4().hex)


def seconds_to_check(remaining: float | None) -> float | None:
    """How long a check may take, of what a caller's deadline leaves; None: there is none."""
    if remaining is None:
        return None
    return max(0.0, remaining - min(_KEPT_SHARE * remaining, _MOST_KEPT_SECONDS))
