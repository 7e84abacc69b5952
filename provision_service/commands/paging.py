"""Page tokens: opaque, and only good for the list and filters they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from agentworkspace.core.ids import is_canonical_uuid
from agentworkspace.core.refusal import Refusal, Violation, wrong_shape

Place = list[str]


def make_token(listing: Sequence[object], place: Place) -> str:
    """The token of the page after `place`; `listing` names the list and its filters."""
    document = json.dumps([_digest(listing), *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(document.encode("utf-8")).decode("ascii").rstrip("=")


def read_token(listing: Sequence[object], token: str, parts: int) -> Place | None:
    """The place in a token, None for the first page. Raises INVALID_REQUEST."""
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        document = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise bad_token() from None
    is_place = isinstance(document, list) and all(map(_is_storable, document))
    if not is_place or len(document) != parts + 1 or document[0] != _digest(listing):
        raise bad_token()
    return [str(part) for part in document[1:]]


def time_of(text: str) -> datetime:
    """A time in a place. Raises INVALID_REQUEST."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad_token() from None
    if moment.tzinfo is None:
        raise bad_token()
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise bad_token() from None


def time_and_id(place: Place | None) -> tuple[datetime, str] | None:
    """A place made of a time and a UUID. Raises INVALID_REQUEST."""
    if place is None:
        return None
    if not is_canonical_uuid(place[1]):
        raise bad_token()
    return time_of(place[0]), place[1]


def bytes_of(text: str) -> bytes:
    """Bytes in a place, as hex. Raises INVALID_REQUEST."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise bad_token() from None


def number_of(text: str) -> int:
    """A number in a place. Raises INVALID_REQUEST."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise bad_token()
    return int(text)


def bad_token() -> Refusal:
    """The refusal of a token that is not one of this list."""
    said = "must be the next_page_token of an earlier answer to the same request"
    return wrong_shape([Violation("page_token", said)])


def _is_storable(part: object) -> bool:
    """A text that the database takes: whoever forges a token gets no further than here."""
    if not isinstance(part, str) or "\0" in part:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in part)


def _digest(listing: Sequence[object]) -> str:
    text = json.dumps([str(part) for part in listing])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
