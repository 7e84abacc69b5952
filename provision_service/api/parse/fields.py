"""Reads the fields of one request and collects what is wrong with them.

A method that finds a violation notes it and returns a placeholder, so that the remaining
fields are read too; `finish` then refuses with all of them. Nothing may be done with what was
read before `finish` has returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from agentworkspace.core import ids
from agentworkspace.core.refusal import Refusal, SharedReason, Violation
from provision_service.domain import guards
from provision_service.domain.billing import BillingMode
from provision_service.domain.environment_names import is_environment_name

T = TypeVar("T")

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 200
LONGEST_PAGE_TOKEN: Final = 1024
MOST_NAMES: Final = 256


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

    def uuid(self, text: str, field: str) -> str:
        if not ids.is_canonical_uuid(text):
            self.refuse(field, "must be a UUID in lower case, with hyphens")
        return text

    def optional_uuid(self, text: str, field: str) -> str:
        return self.uuid(text, field) if text else ""

    def workspace_id(self, text: str) -> str:
        return self.uuid(text, "workspace_id")

    def provision_id(self, text: str) -> str:
        return self.uuid(text, "provision_id")

    def tenant_id(self, text: str) -> str:
        if not ids.is_tenant_id(text):
            self.refuse("tenant_id", "must be 1 to 128 of A-Z a-z 0-9 . _ -, the first no sign")
        return text

    def optional_tenant_id(self, text: str) -> str:
        return self.tenant_id(text) if text else ""

    def sha256(self, text: str, field: str) -> str | None:
        """None when the server shall make the secret."""
        if text and not ids.is_sha256_hex(text):
            self.refuse(field, "must be 64 lower-case hex digits")
        return text or None

    # Text and numbers

    def text(self, text: str, field: str, *, at_most: int, at_least: int = 0) -> str:
        """One line of text."""
        if not at_least <= len(text) <= at_most or (at_least and not text.strip()):
            bounds = f"{at_least} to {at_most}" if at_least else f"at most {at_most}"
            self.refuse(field, f"must be {bounds} characters")
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
            self.refuse(field, "must not contain control characters")
        return text

    def page_token(self, text: str) -> str:
        return self.text(text, "page_token", at_most=LONGEST_PAGE_TOKEN)

    def one_of(self, text: str, field: str, allowed: Iterable[str]) -> str:
        """Empty means not given."""
        allowed = tuple(allowed)
        if text and text not in allowed:
            self.refuse(field, f"must be one of: {', '.join(allowed)}")
        return text

    def mode(self, text: str, field: str) -> BillingMode | None:
        """None when empty."""
        self.one_of(text, field, BillingMode)
        return BillingMode(text) if text in tuple(BillingMode) else None

    def number(self, number: int, field: str, *, at_least: int = 0, at_most: int) -> int:
        if not at_least <= number <= at_most:
            self.refuse(field, f"must be from {at_least} to {at_most}")
        return number

    def page_size(self, number: int) -> int:
        """The default for 0; a larger page than allowed is cut, not refused."""
        if number < 0:
            self.refuse("page_size", "must not be negative")
        return min(max(number, 0), LARGEST_PAGE) or DEFAULT_PAGE

    def named(self, number: int, field: str, names: dict[int, T]) -> T:
        """The domain's word for an enum number; unspecified and unknown numbers are refused."""
        if number not in names:
            wanted = ", ".join(str(name) for name in names.values())
            self.refuse(field, f"must be one of: {wanted}")
            return next(iter(names.values()))
        return names[number]

    def optional_named(self, number: int, field: str, names: dict[int, T]) -> T | None:
        return self.named(number, field, names) if number else None

    # Names and values of the environment

    def names(self, names: Iterable[str], field: str) -> tuple[str, ...]:
        """Each once, in the order given."""
        listed = tuple(dict.fromkeys(names))
        if len(listed) > MOST_NAMES:
            self.refuse(field, f"must be at most {MOST_NAMES} names")
        for index, name in enumerate(listed[:MOST_NAMES]):
            if not is_environment_name(name):
                self.refuse(f"{field}[{index}]", "must be [A-Za-z_][A-Za-z0-9_]{0,127}")
        return listed

    def key(self, text: str) -> str:
        if not is_environment_name(text):
            self.refuse("key", "must be [A-Za-z_][A-Za-z0-9_]{0,127}")
        return text

    def secret(self, key: str, value: str) -> None:
        self._violations += guards.secret_violations(key, value)

    def secrets(self, secrets: dict[str, str], field: str) -> None:
        self._violations += guards.secrets_violations(secrets, field=field)
