"""The kinds of request fields that only the registry has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration

from agentworkspace.core.ids import RequestId, TenantId, TokenId, WorkspaceId
from agentworkspace.rpc.calls import Call
from agentworkspace.server.request_fields import LARGEST_PAGE, RequestFields
from registry_service.commands.origin import Origin

MOST_SCOPES: Final = 32
_SCOPE: Final = re.compile(r"[a-z0-9:._-]{1,64}", re.ASCII)
_NANOS_A_SECOND: Final = 1_000_000_000


class Fields(RequestFields):
    """Reads the fields of one request, and collects violations as `RequestFields` does."""

    def token_id(self, text: str, field: str = "token_id") -> TokenId:
        return TokenId(self.uuid(text, field))

    def request_id(self, text: str) -> RequestId | None:
        """The request_id; None when the caller sent none."""
        return RequestId(self.uuid(text, "request_id")) if text else None

    def optional_tenant_id(self, text: str) -> TenantId | None:
        return self.tenant_id(text) if text else None

    def optional_workspace_id(self, text: str) -> WorkspaceId | None:
        return self.workspace_id(text) if text else None

    def workspace_ids(self, texts: Iterable[str]) -> tuple[WorkspaceId, ...]:
        """The workspace ids, at most as many as a page may hold; empty when none was sent."""
        listed = tuple(texts)
        if len(listed) > LARGEST_PAGE:
            self.refuse("workspace_ids", f"must be at most {LARGEST_PAGE} workspaces")
        return tuple(
            self.workspace_id(text, f"workspace_ids[{index}]")
            for index, text in enumerate(listed[:LARGEST_PAGE])
        )

    def sha256(self, text: str, field: str = "token_sha256") -> bytes | None:
        """The 32 bytes of the hash of a secret that the caller made; None when it sent none."""
        digits = self.sha256_hex(text, field)
        return None if digits is None else bytes.fromhex(digits)

    def scopes(self, scopes: Iterable[str], field: str = "scopes") -> tuple[str, ...]:
        """The scopes, sorted and without duplicates."""
        listed = tuple(scopes)
        if len(listed) > MOST_SCOPES:
            self.refuse(field, f"must be at most {MOST_SCOPES} scopes")
        for index, scope in enumerate(listed[:MOST_SCOPES]):
            if not _SCOPE.fullmatch(scope):
                self.refuse(f"{field}[{index}]", "must be 1 to 64 of a-z 0-9 : . _ -")
        return tuple(sorted(set(listed)))

    def span(
        self, duration: Duration, field: str, *, at_least: timedelta, at_most: timedelta
    ) -> timedelta:
        """The duration, which must be in this range; what is finer than a microsecond is lost."""
        if -_NANOS_A_SECOND < duration.nanos < _NANOS_A_SECOND and (
            duration.nanos == 0 or (duration.nanos > 0) == (duration.seconds >= 0)
        ):
            # Whole seconds are compared first: a timedelta cannot hold every int64.
            reach = int(at_most.total_seconds()) + 1
            if -reach <= duration.seconds <= reach:
                value = timedelta(seconds=duration.seconds, microseconds=duration.nanos // 1000)
                if at_least <= value <= at_most:
                    return value
        self.refuse(field, f"must be a duration from {_seconds(at_least)} to {_seconds(at_most)}")
        return at_least


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"


def origin_of(call: Call, workspace_id: str = "") -> Origin:
    """Who asks, for the audit: the caller by name, or the workspace when its box calls."""
    by_box = call.caller is None or call.bearer is not None
    actor = f"workspace:{workspace_id}" if by_box or call.caller is None else call.caller.name
    return Origin(actor=actor, method=call.method, correlation_id=call.correlation_id)
