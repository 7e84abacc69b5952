"""Removes secrets from whatever is about to be printed.

This is the last line of defence: code wraps secrets in `Secret` in the first place. Needs nothing
but the standard library and protobuf, so that agents can use it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping, Set
from functools import lru_cache
from typing import Any, Final

from google.protobuf.message import Message

_REMOVED: Final = "<redacted>"
_MAX_DEPTH: Final = 8

# One alternation, every branch anchored on literal text, so that clean text is passed over fast.
_SECRET_TEXT: Final = re.compile(
    r"aw[iatp]_[A-Za-z0-9_-]{4,}"  # our own tokens and tickets, also when cut off
    r"|(?i:\bbearer\s+)[^\s\"',;\]})]+"
    r"|(?<=://)[^\s/@:]*:[^\s@]+(?=@)"  # user and password inside a URL
    r"|(?i:\b(?:password|passwd|secret|api_?key|token)\s?[=:]\s?)[^\s\"',;&\]})]+"
    r"|\b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}"  # keys of model vendors
    r"|\b(?:gh[opusr]_|github_pat_|glpat-|xox[abp]-|hf_)[A-Za-z0-9_-]{8,}"
    r"|\bA(?:KI|SI)A[A-Z0-9]{12,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?"  # JSON web tokens
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.ASCII,
)
_TOKEN_SHAPED: Final = re.compile(r"aw[iatp]_", re.ASCII)

_SECRET_FIELDS: Final = frozenset(
    {
        "auth_token",
        "authorization",
        "bearer",
        "bootstrap_ticket",
        "cookie",
        "credential",
        "database_url",
        "env",
        "environment",
        "key_bytes",
        "keys",
        "passwd",
        "password",
        "plaintext",
        "platform_usage_token",
        "presented",
        "private_key",
        "secret",
        "secrets",
        "ticket",
        "token",
        "value",
        "values",
    }
)
_SECRET_ENDINGS: Final = ("_token", "_secret", "_secrets", "_password", "_api_key", "_ticket")
_HARMLESS_FIELDS: Final = frozenset({"page_token", "next_page_token", "first_token"})


class Clean(str):
    """Text that cannot hold a secret, as its author vouches; redaction passes it unread."""

    __slots__ = ()


def is_token_shaped(text: str) -> bool:
    """Whether it contains one of our token prefixes, whatever follows."""
    return _TOKEN_SHAPED.search(text) is not None


@lru_cache(maxsize=1024)
def names_a_secret(field: str) -> bool:
    """Whether a field of this name holds a secret, whatever its value looks like."""
    name = field.lower().replace("-", "_")
    if name in _HARMLESS_FIELDS:
        return False
    return name in _SECRET_FIELDS or name.endswith(_SECRET_ENDINGS)


def scrub_text(text: str) -> str:
    """The text with everything that looks like a secret replaced."""
    return _SECRET_TEXT.sub(_REMOVED, text)


def scrub(value: object, *, depth: int = 0) -> Any:
    """The value as plain, printable data without secrets.

    Mappings, sequences and sets are walked; a protobuf message is reduced to its type's name
    (a request's content never belongs in a log); any other object to its scrubbed repr.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping | list | tuple | Set):
        return _REMOVED if depth >= _MAX_DEPTH else _scrub_inside(value, depth)
    return scrub_text(_text_of(value))


def redact_event(_logger: object, _level: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """A structlog processor; it goes after those that format exceptions, before the renderer."""
    return {key: _field(key, value, 0) for key, value in event.items()}


def _scrub_inside(value: Iterable[Any], depth: int) -> Any:
    if isinstance(value, Mapping):
        return {scrub_text(str(key)): _field(str(key), value[key], depth) for key in value}
    return [scrub(item, depth=depth + 1) for item in value]


def _text_of(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Message):
        return f"<{value.DESCRIPTOR.full_name}>"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return repr(value)


def _field(name: str, value: object, depth: int) -> Any:
    kind = type(value)
    if kind is Clean or value is None or kind is float or kind is int or kind is bool:
        return value
    if names_a_secret(name):
        return _REMOVED
    if type(value) is str:
        return scrub_text(value)
    return scrub(value, depth=depth + 1)
