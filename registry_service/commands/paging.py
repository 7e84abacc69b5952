"""Page tokens: opaque, good for the list and the filters they came from, and for nothing else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from registry_service.commands import grounds

DIGEST_BYTES: Final = 12
FOREIGN: Final = "must be the next_page_token of an earlier answer to the same request"


def encode(filters: Mapping[str, object], time: datetime, row_id: str) -> str:
    """The place behind this row in the list that these filters select."""
    place = json.dumps([time.isoformat(), row_id]).encode()
    return base64.urlsafe_b64encode(_digest(filters, place) + place).decode().rstrip("=")


def decode(filters: Mapping[str, object], page_token: str) -> tuple[str, str] | None:
    """(time, id) to go on behind; None for the first page. Refusal INVALID_REQUEST."""
    if not page_token:
        return None
    try:
        raw = base64.b64decode(
            page_token + "=" * (-len(page_token) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, ValueError):
        raise grounds.invalid("page_token", FOREIGN) from None
    digest, place = raw[:DIGEST_BYTES], raw[DIGEST_BYTES:]
    if digest != _digest(filters, place):
        raise grounds.invalid("page_token", FOREIGN)
    try:
        time, row_id = json.loads(place)
        return datetime.fromisoformat(time).isoformat(), str(UUID(row_id))
    except (TypeError, ValueError, AttributeError):
        raise grounds.invalid("page_token", FOREIGN) from None


def _digest(filters: Mapping[str, object], place: bytes) -> bytes:
    bound = json.dumps(sorted(filters.items()), default=str).encode()
    return hashlib.sha256(bound + b"\0" + place).digest()[:DIGEST_BYTES]
