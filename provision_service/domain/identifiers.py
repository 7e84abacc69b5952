"""Ids as types of their own, and the shapes they must have."""

from __future__ import annotations

import re
from typing import NewType

WorkspaceId = NewType("WorkspaceId", str)
TenantId = NewType("TenantId", str)
ProvisionId = NewType("ProvisionId", str)
RequestId = NewType("RequestId", str)

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


def is_canonical_uuid(text: str) -> bool:
    """Whether `text` is a lower-case UUID with its hyphens: the only accepted spelling."""
    return _CANONICAL_UUID.fullmatch(text) is not None


def is_tenant_id(text: str) -> bool:
    """Whether `text` can name a tenant: 1 to 128 of letters, digits, `.`, `_`, `-`."""
    return _TENANT.fullmatch(text) is not None


def is_sha256_hex(text: str) -> bool:
    """Whether `text` is 64 lower-case hex digits."""
    return _SHA256_HEX.fullmatch(text) is not None
