"""Pages of a list. A page token is opaque, and valid only for the list and filters it came from."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from agentworkspace.core.ids import is_canonical_uuid
from agentworkspace.core.refusal import Violation, wrong_shape

Row = TypeVar("Row")

_DIGEST_BYTES: Final = 12
_LARGEST: Final = 2**63 - 1
# Fields of a command that do not select what is listed; all others do.
_NO_FILTERS: Final = {"call", "caller", "page_size", "page_token"}


class Listing(Protocol):
    """The command that asks for a page: a dataclass whose other fields are filters."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """The rows of a page, and the token of the next one, which is empty on the last page."""

    rows: tuple[Row, ...]
    next_page_token: str


def place(command: Listing, *readers: Callable[[Any], Any]) -> tuple[Any, ...] | None:
    """The place of the row after which the page begins; None: it is the first page.

    Each part of it is read by one of `readers`. INVALID_REQUEST for a token that is not of an
    earlier page of the same list.
    """
    token = command.page_token
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        sealed = raw[_DIGEST_BYTES:]
        if raw != _digest(command, sealed) + sealed:
            raise ValueError("of another list")
        parts = json.loads(sealed)
        return tuple(read(part) for read, part in zip(readers, parts, strict=True))
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
        said = "must be the next_page_token of an earlier answer to the same request"
        raise wrong_shape([Violation("page_token", said)]) from None


def page(
    command: Listing, found: Sequence[Row], place_of: Callable[[Row], Sequence[object]]
) -> Page[Row]:
    """The page made of the rows found. The query must ask for `page_size + 1` rows."""
    shown = tuple(found[: command.page_size])
    more = len(found) > len(shown)
    return Page(shown, token_of(command, place_of(shown[-1])) if more else "")


def token_of(command: Listing, parts: Sequence[object]) -> str:
    """The token of the page that begins after this place."""
    sealed = json.dumps(list(parts), default=_plain).encode()
    return base64.urlsafe_b64encode(_digest(command, sealed) + sealed).decode().rstrip("=")


# Readers of the parts of a place. A forged token gets no further than these: whatever they let
# through, the database accepts.


def time(part: str) -> datetime:
    moment = datetime.fromisoformat(part)
    if moment.tzinfo is None:
        raise ValueError("of no time zone")
    return moment.astimezone(UTC)


def uuid(part: str) -> str:
    if not is_canonical_uuid(part):
        raise ValueError("no UUID")
    return part


def text(part: str) -> str:
    if b"\0" in part.encode():
        raise ValueError("not to be stored")
    return part


def number(part: int) -> int:
    if not 0 <= part <= _LARGEST:
        raise ValueError("out of range")
    return int(part)


def _plain(part: object) -> str:
    if isinstance(part, datetime):
        return part.isoformat()
    return part.hex() if isinstance(part, bytes) else str(part)


def _digest(command: Listing, sealed: bytes) -> bytes:
    """The digest of list, filters and place. Filters at their default are left out, so that one
    which a later release adds does not invalidate tokens.
    """
    given = {
        field.name: getattr(command, field.name)
        for field in fields(command)
        if field.name not in _NO_FILTERS
        and (field.default is MISSING or getattr(command, field.name) != field.default)
    }
    asked = json.dumps([type(command).__name__, given], sort_keys=True, default=str).encode()
    return hashlib.sha256(asked + b"\0" + sealed).digest()[:_DIGEST_BYTES]
