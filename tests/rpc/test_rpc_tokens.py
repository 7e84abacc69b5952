"""Tokens that an agent makes for itself are those that the registry expects."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib

import pytest

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import (
    TokenKind,
    derive_instance_token,
    is_well_formed,
    new_token,
    sha256_hex,
)

WORKSPACE = "3f0c6a52-6c39-4c3f-9a1d-6a7d4b9f5a10"


def test_a_token_is_prefix_payload_and_checksum() -> None:
    token = new_token(TokenKind.API, entropy=lambda size: bytes(range(size))).reveal()
    assert token[:4] == "awa_"
    assert token[4:47] == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for character in token[47:]:
        number = number * 62 + digits.index(character)
    assert len(token) == 53
    assert number == zlib.crc32(token[:47].encode())


def test_fresh_tokens_differ_and_are_well_formed() -> None:
    first, second = new_token(), new_token()
    assert first != second
    assert is_well_formed(first)
    assert first.reveal().startswith("awi_")


@pytest.mark.parametrize("at", [0, 5, 20, 50])
def test_one_wrong_character_is_noticed(at: int) -> None:
    text = new_token().reveal()
    wrong = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
    assert not is_well_formed(Secret(wrong))


def test_the_derived_token_is_the_hmac_of_the_launch_under_the_tickets_bytes() -> None:
    key = bytes(range(32))
    ticket = new_token(TokenKind.TICKET, entropy=lambda _size: key)
    token = derive_instance_token(ticket, WORKSPACE, 7).reveal()
    mac = hmac.new(key, f"agentworkspace/instance/v1/{WORKSPACE}/7".encode(), hashlib.sha256)
    assert token[:4] == "awi_"
    assert base64.urlsafe_b64decode(token[4:47] + "=") == mac.digest()
    assert is_well_formed(Secret(token))


def test_the_same_launch_always_derives_the_same_token_and_another_one_never() -> None:
    ticket = new_token(TokenKind.TICKET)
    token = derive_instance_token(ticket, WORKSPACE, 1)
    assert derive_instance_token(ticket, WORKSPACE, 1) == token
    assert derive_instance_token(ticket, WORKSPACE, 2) != token
    assert derive_instance_token(new_token(TokenKind.TICKET), WORKSPACE, 1) != token


def test_only_a_ticket_derives() -> None:
    for other in (new_token(TokenKind.API), Secret("awt_short"), Secret("")):
        with pytest.raises(ValueError, match="not a bootstrap ticket"):
            derive_instance_token(other, WORKSPACE, 1)


def test_the_hash_covers_the_whole_string() -> None:
    token = new_token()
    assert sha256_hex(token) == hashlib.sha256(token.reveal().encode()).hexdigest()
