"""Reads the fields of one request and collects what is wrong with them.

A method that finds a violation notes it and returns a placeholder, so that the remaining fields
are read too; `finish` then refuses with all of them. Until `finish` has returned, what was read
must not be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Self, TypeVar

from agentworkspace.core import ids
from agentworkspace.core.ids import TenantId, WorkspaceId
from agentworkspace.core.refusal import Violation, refuse_shape

T = TypeVar("T")

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 200
LONGEST_PAGE_TOKEN: Final = 1024


class RequestFields:
    """Reads the kinds of fields that both services have; each service's subclass adds its own."""

    def __init__(self, *, path: str = "", violations: list[Violation] | None = None) -> None:
        self._path = path
        self._violations: list[Violation] = [] if violations is None else violations

    def within(self, path: str) -> Self:
        """Reads a request that is part of this one, at a path such as `requests[3].`. What is wrong
        with it is refused with the rest.
        """
        return type(self)(path=self._path + path, violations=self._violations)

    def refuse(self, field: str, description: str) -> None:
        self._violations.append(Violation(self._path + field, description))

    def refuse_all(self, violations: Iterable[Violation]) -> None:
        for each in violations:
            self.refuse(each.field, each.description)

    def finish(self, read: T) -> T:
        """Return `read`, or raise INVALID_REQUEST if any field was wrong."""
        refuse_shape(self._violations)
        return read

    # Ids

    def uuid(self, text: str, field: str) -> str:
        if not ids.is_canonical_uuid(text):
            self.refuse(field, ids.UUID_WANTED)
        return text

    def id_range(self, prefix: str, field: str) -> tuple[str, str] | None:
        """The first and the last id that begin with `prefix`; None for an empty one."""
        found = ids.uuids_beginning_with(prefix)
        if prefix and found is None:
            self.refuse(field, ids.PREFIX_WANTED)
        return found

    def workspace_id(self, text: str, field: str = "workspace_id") -> WorkspaceId:
        return WorkspaceId(self.uuid(text, field))

    def tenant_id(self, text: str) -> TenantId:
        if not ids.is_tenant_id(text):
            self.refuse("tenant_id", ids.TENANT_WANTED)
        return TenantId(text)

    def sha256_hex(self, text: str, field: str) -> str | None:
        """The hash of a secret that the caller made; None when it left that to the server."""
        if text and not ids.is_sha256_hex(text):
            self.refuse(field, ids.SHA256_WANTED)
            return None
        return text or None

    # Text and numbers

    def text(self, text: str, field: str, *, at_most: int) -> str:
        if len(text) > at_most:
            self.refuse(field, f"must be at most {at_most} characters")
        if "\0" in text:
            self.refuse(field, "must not contain a NUL character")
        return text

    def page_token(self, text: str) -> str:
        return self.text(text, "page_token", at_most=LONGEST_PAGE_TOKEN)

    def at_least_zero(self, number: int, field: str) -> int:
        if number < 0:
            self.refuse(field, "must not be negative")
        return max(number, 0)

    def page_size(self, number: int) -> int:
        """The size of a page: DEFAULT_PAGE for 0, and never more than LARGEST_PAGE."""
        return min(self.at_least_zero(number, "page_size"), LARGEST_PAGE) or DEFAULT_PAGE

    # Enums

    def named(self, number: int, field: str, names: Mapping[int, T]) -> T:
        """The domain's word for an enum number; unspecified and unknown numbers are refused."""
        if number not in names:
            wanted = ", ".join(str(name) for name in names.values())
            self.refuse(field, f"must be one of: {wanted}")
            return next(iter(names.values()))
        return names[number]

    def optional_named(self, number: int, field: str, names: Mapping[int, T]) -> T | None:
        return self.named(number, field, names) if number else None

    def either(
        self,
        number: int,
        field: str,
        names: Mapping[int, T],
        *,
        text: str,
        text_field: str,
    ) -> T | None:
        """A word that comes as an enum in `field`, or as text in the deprecated `text_field`.

        None when neither is given; a violation when both are and differ.
        """
        words = {str(word): word for word in names.values()}
        named = self.optional_named(number, field, names)
        told = words.get(text)
        if text and told is None:
            self.refuse(text_field, f"must be one of: {', '.join(words)}")
        elif named is not None and told is not None and named != told:
            self.refuse(
                field,
                f"says something else than `{text_field}`, which says `{text}`: give one of the"
                " two, or the same in both",
            )
        return told if named is None else named
