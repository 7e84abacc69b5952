"""How our token strings look, and how a box derives its own.

`<prefix><payload><checksum>`: the prefix names the kind (`awi_` instance, `awa_` api,
`awt_` ticket, `awp_` proxy); the payload is 32 bytes as base64url without padding, 43
characters; the checksum is CRC-32 over prefix and payload as 6 base62 characters (0-9 A-Z
a-z, most significant first, padded with 0). 53 characters in all.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Callable
from enum import StrEnum, unique
from hashlib import sha256
from typing import Final
from zlib import crc32

from agentworkspace.core.secret import Secret

SECRET_BYTES: Final = 32
DISPLAY_CHARACTERS: Final = 8
CHECKSUM_CHARACTERS: Final = 6
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_PAIR: Final = len(_PAIRS)
_TWO_PAIRS: Final = _PAIR**2


@unique
class TokenKind(StrEnum):
    """What a secret that this platform issues is for."""

    INSTANCE = "INSTANCE"
    API = "API"
    TICKET = "TICKET"
    # One incarnation presents it to the platform's LLM proxy, and it is accepted nowhere else.
    PROXY = "PROXY"


PREFIX: Final[dict[TokenKind, str]] = {
    TokenKind.INSTANCE: "awi_",
    TokenKind.API: "awa_",
    TokenKind.TICKET: "awt_",
    TokenKind.PROXY: "awp_",
}
_DERIVATION: Final = {
    TokenKind.INSTANCE: "agentworkspace/instance/v1",
    TokenKind.PROXY: "agentworkspace/proxy/v1",
}
_PREFIXES: Final = tuple(PREFIX.values())
# The last payload character carries only 4 bits, so only 16 of the 64 characters are possible.
_OURS: Final = re.compile(
    r"(?P<prefix>aw[iatp]_)"
    r"(?P<payload>[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"
    r"(?P<checksum>[0-9A-Za-z]{6})",
    re.ASCII,
)


def assemble(kind: TokenKind, random32: bytes) -> Secret:
    """The token string of these 32 random bytes. ValueError for any other length."""
    if len(random32) != SECRET_BYTES:
        raise ValueError(f"a token needs {SECRET_BYTES} random bytes, not {len(random32)}")
    payload = base64.urlsafe_b64encode(random32).rstrip(b"=").decode("ascii")
    body = PREFIX[kind] + payload
    return Secret(body + _checksum(body))


def new_token(
    kind: TokenKind = TokenKind.INSTANCE,
    *,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
) -> Secret:
    """A fresh token of this kind."""
    return assemble(kind, entropy(SECRET_BYTES))


def looks_ours(text: str) -> bool:
    """Whether it starts with one of our prefixes, whatever follows."""
    return text.startswith(_PREFIXES)


def checksum_ok(text: str) -> bool:
    """Whether it is exactly a token of our format: prefix, payload and a right checksum."""
    if _OURS.fullmatch(text) is None:
        return False
    return text[-CHECKSUM_CHARACTERS:] == _checksum(text[:-CHECKSUM_CHARACTERS])


def is_junk(text: str) -> bool:
    """Whether the text can be refused without a look-up: empty, or our prefix and a wrong rest.

    Text of any other shape may be a token whose hash a caller registered, and is looked up.
    """
    return not text or (looks_ours(text) and not checksum_ok(text))


def token_sha256(text: str) -> bytes:
    """SHA-256 of the whole string: the only thing that is ever stored of a token."""
    return sha256(text.encode("utf-8")).digest()


def sha256_hex(token: Secret) -> str:
    """The value of `token_sha256` fields: 64 lower-case hex digits, over the whole string."""
    return token_sha256(token.reveal()).hex()


def is_well_formed(token: Secret) -> bool:
    """Whether it is in our format, with a right checksum."""
    return checksum_ok(token.reveal())


def display_prefix(text: str) -> str:
    """The first 8 payload characters of one of our tokens; empty for any other text."""
    start = len(PREFIX[TokenKind.API])
    return text[start : start + DISPLAY_CHARACTERS] if checksum_ok(text) else ""


def derive_instance_token(ticket: Secret, workspace_id: str, incarnation: int) -> Secret:
    """The instance token that a box computes for itself, always the same for the same arguments.

    payload = base64url(HMAC-SHA256(key, message)); key = the 32 bytes which the 43 payload
    characters of the ticket decode to (not the characters); message = the ASCII text
    `agentworkspace/instance/v1/<workspace_id>/<incarnation>`, incarnation in decimal.
    ValueError when `ticket` is not a bootstrap ticket in our format.
    """
    return _derive(TokenKind.INSTANCE, ticket, workspace_id, incarnation)


def derive_proxy_token(ticket: Secret, workspace_id: str, incarnation: int) -> Secret:
    """The token that this incarnation shows at the platform's LLM proxy.

    Computed as by `derive_instance_token`, with the message
    `agentworkspace/proxy/v1/<workspace_id>/<incarnation>`. Both the issuer of the ticket and the
    box compute it, so that nobody has to send it.
    """
    return _derive(TokenKind.PROXY, ticket, workspace_id, incarnation)


def _derive(kind: TokenKind, ticket: Secret, workspace_id: str, incarnation: int) -> Secret:
    text = ticket.reveal()
    found = _OURS.fullmatch(text)
    if found is None or found["prefix"] != PREFIX[TokenKind.TICKET] or not checksum_ok(text):
        raise ValueError("not a bootstrap ticket in our format")
    key = base64.urlsafe_b64decode(found["payload"] + "=")
    message = f"{_DERIVATION[kind]}/{workspace_id}/{incarnation}".encode("ascii")
    return assemble(kind, hmac.new(key, message, sha256).digest())


def _checksum(body: str) -> str:
    # Two digits at a time for speed: it is computed for every token that is presented.
    number = crc32(body.encode("ascii"))
    return _PAIRS[number // _TWO_PAIRS] + _PAIRS[number // _PAIR % _PAIR] + _PAIRS[number % _PAIR]
