"""Page tokens: opaque, good for the list and the filters they came from, and for nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from registry_service.commands import grounds

DIGEST_BYTES: Final = 12
FOREIGN: Final = "must be the next_page_token of an earlier answer to the same request"


@dataclass(frozen=True, slots=True)
class ChangePlace:
    """Where a page of changes ended, and the revision that the whole look will be told."""

    change: int
    row_id: str
    revision: int


def encode(filters: Mapping[str, object], time: datetime, row_id: str) -> str:
    """The place behind this row in the list that these filters select."""
    return _sealed(filters, [time.isoformat(), row_id])


def encode_change(filters: Mapping[str, object], place: ChangePlace) -> str:
    return _sealed(filters, [place.change, place.row_id, place.revision])


def decode(filters: Mapping[str, object], page_token: str) -> tuple[str, str] | None:
    """(time, id) to go on behind; None for the first page. Refusal INVALID_REQUEST."""
    if not page_token:
        return None
    try:
        time, row_id = _opened(filters, page_token)
        return datetime.fromisoformat(time).isoformat(), str(UUID(row_id))
    except (TypeError, ValueError, AttributeError):
        raise grounds.invalid("page_token", FOREIGN) from None


def decode_change(filters: Mapping[str, object], page_token: str) -> ChangePlace | None:
    """The same as `decode`, of a list in order of change."""
    if not page_token:
        return None
    try:
        change, row_id, revision = _opened(filters, page_token)
        return ChangePlace(int(change), str(UUID(row_id)), int(revision))
    except (TypeError, ValueError, AttributeError):
        raise grounds.invalid("page_token", FOREIGN) from None


def _sealed(filters: Mapping[str, object], content: list[object]) -> str:
    place = json.dumps(content).encode()
    return base64.urlsafe_b64encode(_digest(filters, place) + place).decode().rstrip("=")


def _opened(filters: Mapping[str, object], page_token: str) -> Any:
    """What was sealed for the same filters. ValueError for anything else."""
    raw = base64.b64decode(page_token + "=" * (-len(page_token) % 4), altchars=b"-_", validate=True)
    digest, place = raw[:DIGEST_BYTES], raw[DIGEST_BYTES:]
    if digest != _digest(filters, place):
        raise ValueError("of another list")
    return json.loads(place)


def _digest(filters: Mapping[str, object], place: bytes) -> bytes:
    bound = json.dumps(sorted(filters.items()), default=str).encode()
    return hashlib.sha256(bound + b"\0" + place).digest()[:DIGEST_BYTES]
