"""Reads the fields of one request and collects what is wrong with them.

A method that finds a violation notes it and returns a placeholder, so that the remaining
fields are read too; `finish` then refuses with all of them. Nothing may be done with what was
read before `finish` has returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, TypeVar

from google.protobuf.duration_pb2 import Duration

from agentworkspace.core import ids
from agentworkspace.core.ids import RequestId, TenantId, TokenId, WorkspaceId
from agentworkspace.core.refusal import Refusal, SharedReason, Violation

T = TypeVar("T")

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 200
MOST_SCOPES: Final = 32
_SCOPE: Final = re.compile(r"[a-z0-9:._-]{1,64}", re.ASCII)
_NANOS_A_SECOND: Final = 1_000_000_000


class Fields:
    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def refuse(self, field: str, description: str) -> None:
        self._violations.append(Violation(field, description))

    def finish(self) -> None:
        """Refusal INVALID_REQUEST if anything was wrong."""
        if not self._violations:
            return
        fields = ", ".join(dict.fromkeys(each.field for each in self._violations))
        raise Refusal(
            SharedReason.INVALID_REQUEST,
            f"the request is not well-formed: {fields}",
            metadata={"fields": fields},
            violations=self._violations,
        )

    # Ids

    def workspace_id(self, text: str, field: str = "workspace_id") -> WorkspaceId:
        return self._take(ids.parse_workspace_id(text, field), WorkspaceId(""))

    def token_id(self, text: str, field: str = "token_id") -> TokenId:
        return self._take(ids.parse_token_id(text, field), TokenId(""))

    def request_id(self, text: str, field: str = "request_id") -> RequestId | None:
        """None when the caller named none."""
        if not text:
            return None
        return self._take(ids.parse_request_id(text, field), RequestId(""))

    def tenant_id(self, text: str, field: str = "tenant_id") -> TenantId:
        return self._take(ids.parse_tenant_id(text, field), TenantId(""))

    def optional_tenant_id(self, text: str, field: str = "tenant_id") -> TenantId | None:
        return self.tenant_id(text, field) if text else None

    def optional_workspace_id(self, text: str, field: str = "workspace_id") -> WorkspaceId | None:
        return self.workspace_id(text, field) if text else None

    def workspace_ids(
        self, texts: Iterable[str], field: str = "workspace_ids"
    ) -> tuple[WorkspaceId, ...]:
        """As many as a page may hold; empty when none was named."""
        listed = tuple(texts)
        if len(listed) > LARGEST_PAGE:
            self.refuse(field, f"must be at most {LARGEST_PAGE} workspaces")
        return tuple(
            self.workspace_id(text, f"{field}[{index}]")
            for index, text in enumerate(listed[:LARGEST_PAGE])
        )

    def sha256(self, text: str, field: str = "token_sha256") -> bytes | None:
        """None when the server shall make the secret."""
        return self._take(ids.parse_sha256(text, field), b"") if text else None

    # Text and numbers

    def text(self, text: str, field: str, *, at_most: int) -> str:
        if len(text) > at_most:
            self.refuse(field, f"must be at most {at_most} characters")
        if "\0" in text:
            self.refuse(field, "must not contain a NUL character")
        return text

    def one_of(self, text: str, field: str, allowed: Iterable[str]) -> str:
        allowed = tuple(allowed)
        if text not in allowed:
            self.refuse(field, f"must be one of: {', '.join(allowed)}")
        return text

    def at_least_zero(self, number: int, field: str) -> int:
        if number < 0:
            self.refuse(field, "must not be negative")
        return number

    def page_size(self, number: int) -> int:
        """The default for 0; a larger page than allowed is cut, not refused."""
        return min(self.at_least_zero(number, "page_size"), LARGEST_PAGE) or DEFAULT_PAGE

    def scopes(self, scopes: Iterable[str], field: str = "scopes") -> tuple[str, ...]:
        """Sorted, each once."""
        listed = tuple(scopes)
        if len(listed) > MOST_SCOPES:
            self.refuse(field, f"must be at most {MOST_SCOPES} scopes")
        for index, scope in enumerate(listed[:MOST_SCOPES]):
            if not _SCOPE.fullmatch(scope):
                self.refuse(f"{field}[{index}]", "must be 1 to 64 of a-z 0-9 : . _ -")
        return tuple(sorted(set(listed)))

    # Messages and enums

    def span(
        self, duration: Duration, field: str, *, at_least: timedelta, at_most: timedelta
    ) -> timedelta:
        """A Duration in this range. Sub-microsecond parts are dropped."""
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

    def named(self, number: int, field: str, names: dict[int, T]) -> T:
        """The domain's word for an enum number; unspecified and unknown numbers are refused."""
        if number not in names:
            wanted = ", ".join(str(name) for name in names.values())
            self.refuse(field, f"must be one of: {wanted}")
            return next(iter(names.values()))
        return names[number]

    def _take(self, found: T | Violation, placeholder: T) -> T:
        if isinstance(found, Violation):
            self._violations.append(found)
            return placeholder
        return found


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"
