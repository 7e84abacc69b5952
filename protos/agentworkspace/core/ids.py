"""Types for identifiers, the shapes they must have, and what to say of a wrong one."""

from __future__ import annotations

import re
from typing import Final, NewType, TypeGuard

WorkspaceId = NewType("WorkspaceId", str)
TenantId = NewType("TenantId", str)
TokenId = NewType("TokenId", str)
RequestId = NewType("RequestId", str)

# fullmatch, not `$`, which would let a trailing newline through.
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

UUID_WANTED: Final = "must be a UUID in canonical lower-case form"
PREFIX_WANTED: Final = "must be the beginning of a UUID in canonical lower-case form"
TENANT_WANTED: Final = "must be 1 to 128 of A-Z a-z 0-9 . _ - and start with a letter or a digit"
SHA256_WANTED: Final = "must be a SHA-256 as 64 lower-case hexadecimal digits"


def is_canonical_uuid(text: str) -> bool:
    """Whether `text` is a lower-case UUID with its hyphens: the only accepted spelling."""
    return _UUID.fullmatch(text) is not None


def is_workspace_id(text: str) -> TypeGuard[WorkspaceId]:
    """Whether `text` can name a workspace; narrows it to WorkspaceId for a type checker."""
    return is_canonical_uuid(text)


def is_tenant_id(text: str) -> bool:
    """Whether `text` can name a tenant: 1 to 128 of letters, digits, `.`, `_`, `-`."""
    return _TENANT.fullmatch(text) is not None


def is_sha256_hex(text: str) -> bool:
    """Whether `text` is 64 lower-case hex digits."""
    return _SHA256.fullmatch(text) is not None


def uuids_beginning_with(prefix: str) -> tuple[str, str] | None:
    """The first and the last UUID that begin with `prefix`; None for an empty or impossible one."""
    first = prefix + "00000000-0000-0000-0000-000000000000"[len(prefix) :]
    if not prefix or not is_canonical_uuid(first):
        return None
    return first, prefix + "ffffffff-ffff-ffff-ffff-ffffffffffff"[len(prefix) :]
