"""A refusal as an HTTP answer, with the same reason, message and recovery as over gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import grpc

from agentworkspace.client.verifier.gate import Gate, correlation_id_of
from agentworkspace.client.verifier.principals import LIVE, Requirement
from agentworkspace.rpc import call_metadata
from agentworkspace.rpc.errors import (
    CORRELATION_KEY,
    REASON_KEY,
    RECOVERY_KEY,
    RpcFailure,
    public_message,
)

_STATUS: Final = {
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
}
_REASON_PREFIX: Final = "ERROR_REASON_"
_CHALLENGE: Final = 'Bearer realm="agentworkspace"'
_RETRY_AFTER_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """401 without an accepted token, 403 when it lacks something, 503 when it cannot be checked."""

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Paths:
    """Requirements by path prefix, in whole segments. The longest prefix counts; `/` covers all.

    None: no token needed. A path that no prefix covers is closed to everybody. ValueError for a
    prefix that does not begin with `/`, and for a requirement with a `workspace_field`.
    """

    def __init__(self, requirements: Mapping[str, Requirement | None], domain: str) -> None:
        for path, requirement in requirements.items():
            if not path.startswith("/"):
                raise ValueError(f"{path!r} is no path: it does not begin with /")
            if requirement is not None and requirement.workspace_field is not None:
                raise ValueError("HTTP has no fields: compare principal().workspace_id instead")
        self._gates = {
            path.rstrip("/"): None if requirement is None else Gate(path, requirement, domain)
            for path, requirement in requirements.items()
        }
        self._closed = Gate("a path", None, domain)

    def gate(self, path: str) -> Gate | None:
        """The gate of this path; None when it is open to everybody."""
        prefix = path.rstrip("/")
        while prefix not in self._gates:
            if not prefix:
                return self._closed
            prefix = prefix.rpartition("/")[0]
        return self._gates[prefix]


def presented(headers: Iterable[tuple[str, str]]) -> tuple[str | None, str | None]:
    """(token, correlation id) of a request's headers, whose names are in lower case.

    Credentials of another scheme than Bearer, such as a person's password, are never sent to the
    registry: they count as absent.
    """
    token, correlation_id, _ = call_metadata.read_from(
        (name, value)
        for name, value in headers
        if name != call_metadata.AUTHORIZATION_KEY or value[:7].lower() in ("bearer", "bearer ")
    )
    return token, correlation_id


def answer_to(failure: RpcFailure, gate: Gate, correlation_id: str | None) -> Answer:
    """The answer to a refused request."""
    status = _STATUS.get(failure.code, HTTPStatus.SERVICE_UNAVAILABLE)
    told = {
        "code": failure.code.name,
        "reason": failure.reason,
        "message": public_message(failure),
        "recovery": str(failure.recovery),
    }
    body = json.dumps({"error": told}).encode()
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("www-authenticate", _challenge(failure, gate.requirement or LIVE)),
        (REASON_KEY, failure.reason),
        (RECOVERY_KEY, str(failure.recovery)),
        (CORRELATION_KEY, correlation_id_of(correlation_id)),
    ]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("retry-after", str(_RETRY_AFTER_SECONDS)))
    return Answer(status, tuple(headers), body)


def _challenge(failure: RpcFailure, requirement: Requirement) -> str:
    """The `www-authenticate` header, by RFC 6750."""
    reason = failure.reason.removeprefix(_REASON_PREFIX)
    if reason == "BEARER_REJECTED":
        return f'{_CHALLENGE}, error="invalid_token"'
    if reason == "TOKEN_SCOPE":
        scopes = " ".join(sorted(requirement.scopes))
        return f'{_CHALLENGE}, error="insufficient_scope", scope="{scopes}"'
    if reason == "TOKEN_KIND":
        return f'{_CHALLENGE}, error="insufficient_scope"'
    return _CHALLENGE
