"""Identifiers as types of their own, and the shapes they must have.

Each `parse_*` returns the value, or the violation that says what is wrong with it; a caller
collects the violations of all fields before it refuses.
"""

from __future__ import annotations

import re
from typing import Final, NewType, TypeGuard

from agentworkspace.core.refusal import Violation

WorkspaceId = NewType("WorkspaceId", str)
TenantId = NewType("TenantId", str)
TokenId = NewType("TokenId", str)
ProvisionId = NewType("ProvisionId", str)
RequestId = NewType("RequestId", str)

# fullmatch, not `$`, which would let a trailing newline through.
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

UUID_WANTED: Final = "must be a UUID in canonical lower-case form"
TENANT_WANTED: Final = "must be 1 to 128 of A-Z a-z 0-9 . _ - and start with a letter or a digit"
SHA256_WANTED: Final = "must be a SHA-256 as 64 lower-case hexadecimal digits"


def is_canonical_uuid(text: str) -> bool:
    """Whether `text` is a lower-case UUID with its hyphens: the only accepted spelling."""
    return _UUID.fullmatch(text) is not None


def is_workspace_id(text: str) -> TypeGuard[WorkspaceId]:
    """As `parse_workspace_id`, for those who word what is wrong themselves."""
    return _UUID.fullmatch(text) is not None


def is_tenant_id(text: str) -> bool:
    """Whether `text` can name a tenant: 1 to 128 of letters, digits, `.`, `_`, `-`."""
    return _TENANT.fullmatch(text) is not None


def is_sha256_hex(text: str) -> bool:
    """Whether `text` is 64 lower-case hex digits."""
    return _SHA256.fullmatch(text) is not None


def parse_workspace_id(text: str, field: str = "workspace_id") -> WorkspaceId | Violation:
    """The id, or what is wrong with it."""
    return text if is_workspace_id(text) else Violation(field, UUID_WANTED)


def parse_token_id(text: str, field: str = "token_id") -> TokenId | Violation:
    """The id, or what is wrong with it."""
    return TokenId(text) if _UUID.fullmatch(text) else Violation(field, UUID_WANTED)


def parse_request_id(text: str, field: str = "request_id") -> RequestId | Violation:
    """The id, or what is wrong with it."""
    return RequestId(text) if _UUID.fullmatch(text) else Violation(field, UUID_WANTED)


def parse_tenant_id(text: str, field: str = "tenant_id") -> TenantId | Violation:
    """The id, or what is wrong with it."""
    return TenantId(text) if _TENANT.fullmatch(text) else Violation(field, TENANT_WANTED)


def parse_sha256(text: str, field: str = "token_sha256") -> bytes | Violation:
    """The 32 bytes of the digest, or what is wrong with its text."""
    return bytes.fromhex(text) if _SHA256.fullmatch(text) else Violation(field, SHA256_WANTED)
