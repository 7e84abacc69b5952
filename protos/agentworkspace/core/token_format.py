"""Tokens as an agent needs them: made or derived before the call, so that no answer can lose one.

Format: a prefix by kind, 32 bytes as base64url without padding (43 characters), then CRC-32 of
all before as 6 base62 characters (0-9 A-Z a-z, most significant first). 53 characters in all.
The registry's own copy lives in its domain; shared test vectors hold the two together.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Callable
from enum import StrEnum, unique
from typing import Final

from agentworkspace.rpc.redaction import Secret

SECRET_BYTES: Final = 32
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKSUM_CHARACTERS: Final = 6
_DERIVATION: Final = "agentworkspace/instance/v1"
# The last payload character carries 4 bits, so only 16 of the 64 can stand there.
_OURS: Final = re.compile(
    r"(aw[iat]_)([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])([0-9A-Za-z]{6})", re.ASCII
)


@unique
class TokenKind(StrEnum):
    """The value is the prefix."""

    INSTANCE = "awi_"
    API = "awa_"
    TICKET = "awt_"


def new_token(
    kind: TokenKind = TokenKind.INSTANCE,
    *,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
) -> Secret:
    """A fresh token of this kind."""
    return _assemble(kind, entropy(SECRET_BYTES))


def derive_instance_token(ticket: Secret, workspace_id: str, incarnation: int) -> Secret:
    """The instance token that belongs to this ticket: the same one, however often computed.

    payload = base64url(HMAC-SHA256(key, message)); key = the 32 bytes that the ticket's 43
    payload characters decode to; message = the ASCII text
    `agentworkspace/instance/v1/<workspace_id>/<incarnation>`, incarnation in decimal.
    ValueError when `ticket` is not a bootstrap ticket in our format.
    """
    found = _OURS.fullmatch(ticket.reveal())
    if found is None or found[1] != TokenKind.TICKET or not is_well_formed(ticket):
        raise ValueError("not a bootstrap ticket in our format")
    key = base64.urlsafe_b64decode(found[2] + "=")
    message = f"{_DERIVATION}/{workspace_id}/{incarnation}".encode("ascii")
    return _assemble(TokenKind.INSTANCE, hmac.new(key, message, hashlib.sha256).digest())


def sha256_hex(token: Secret) -> str:
    """What `token_sha256` fields take: 64 lower-case hex digits over the whole string."""
    return hashlib.sha256(token.reveal().encode("utf-8")).hexdigest()


def is_well_formed(token: Secret) -> bool:
    """In our format, with a right checksum."""
    found = _OURS.fullmatch(token.reveal())
    return found is not None and found[3] == _checksum(found[1] + found[2])


def _assemble(kind: TokenKind, payload: bytes) -> Secret:
    if len(payload) != SECRET_BYTES:
        raise ValueError(f"a token needs {SECRET_BYTES} bytes, not {len(payload)}")
    body = kind + base64.urlsafe_b64encode(payload).rstrip(b"=").decode("ascii")
    return Secret(body + _checksum(body))


def _checksum(body: str) -> str:
    rest = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _ in range(_CHECKSUM_CHARACTERS):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
