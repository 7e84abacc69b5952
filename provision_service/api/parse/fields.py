"""The kinds of fields that requests of provisioning alone have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from typing_extensions import override

from agentworkspace.server.request_fields import RequestFields
from provision_service.domain.environment_names import NAME_WANTED, is_environment_name

MOST_NAMES: Final = 256


class Fields(RequestFields):
    """Reads one request; see RequestFields."""

    def optional_uuid(self, text: str, field: str) -> str:
        return self.uuid(text, field) if text else ""

    def provision_id(self, text: str) -> str:
        return self.uuid(text, "provision_id")

    def optional_tenant_id(self, text: str) -> str:
        return self.tenant_id(text) if text else ""

    @override
    def text(self, text: str, field: str, *, at_most: int, at_least: int = 0) -> str:
        """One line of `at_least` to `at_most` characters, without control characters."""
        if not at_least <= len(text) <= at_most or (at_least and not text.strip()):
            bounds = f"{at_least} to {at_most}" if at_least else f"at most {at_most}"
            self.refuse(field, f"must be {bounds} characters")
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
            self.refuse(field, "must not contain control characters")
        return text

    def names(self, names: Iterable[str], field: str) -> tuple[str, ...]:
        """Environment names, each once, in the order given."""
        listed = tuple(dict.fromkeys(names))
        if len(listed) > MOST_NAMES:
            self.refuse(field, f"must be at most {MOST_NAMES} names")
        for index, name in enumerate(listed[:MOST_NAMES]):
            if not is_environment_name(name):
                self.refuse(f"{field}[{index}]", NAME_WANTED)
        return listed

    def key(self, text: str) -> str:
        if not is_environment_name(text):
            self.refuse("key", NAME_WANTED)
        return text
