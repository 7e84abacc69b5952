"""How token strings look, what is kept of them, and when a token is live (design, section 3)."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentworkspace.core.ids import TokenId, WorkspaceId
from agentworkspace.core.secret import Secret
from registry_service.domain.tokens import (
    RevokeReason,
    Token,
    TokenKind,
    assemble,
    checksum_ok,
    derive_instance_token,
    display_prefix,
    is_junk,
    looks_ours,
    token_sha256,
)

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
COUNTING = bytes(range(32))
TICKET = "awt_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh84NAsEl"
HOME = "5b3c1c1e-0000-4000-8000-000000000001"

# Made with openssl and zlib, not with the code under test.
VECTORS = [
    (TokenKind.INSTANCE, bytes(32), "awi_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1uErKM"),
    (TokenKind.API, COUNTING, "awa_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh82lkYoM"),
    (TokenKind.TICKET, COUNTING, TICKET),
    (TokenKind.TICKET, b"\xff" * 32, "awt_" + 42 * "_" + "80OXpQt"),
    # A checksum that needs its leading zeros.
    (
        TokenKind.INSTANCE,
        (93).to_bytes(32, "big"),
        "awi_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAF000QasB",
    ),
]

kinds = st.sampled_from(list(TokenKind))
secrets32 = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize(("kind", "random32", "text"), VECTORS)
def test_the_vectors_hold(kind: TokenKind, random32: bytes, text: str) -> None:
    assert assemble(kind, random32).reveal() == text
    assert len(text) == 53


def test_the_stored_hash_is_of_the_whole_string() -> None:
    assert token_sha256(TICKET).hex() == (
        "241b42d46d70d284208710d2bf08fc734a50dc77ccfe7a06fb7b5c34056e1d44"
    )


@pytest.mark.parametrize(
    ("incarnation", "text"),
    [
        (1, "awi_YBaZIyLSXK2Uiv7Lt7S9e4z55w9RHmyqI_Htx58NUWY3snRV5"),
        (12, "awi_hYb-QBNkGReRT9eOQ_SsdYZs9cGD65xt-27tM4QtTv84NkQxI"),
    ],
)
def test_a_box_derives_its_token_from_ticket_workspace_and_incarnation(
    incarnation: int, text: str
) -> None:
    assert derive_instance_token(Secret(TICKET), HOME, incarnation).reveal() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a ticket of another format",
        TICKET[:-1] + "m",
        "awi_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA1uErKM",
    ],
)
def test_only_one_of_our_tickets_derives_a_token(text: str) -> None:
    with pytest.raises(ValueError, match="not a bootstrap ticket"):
        derive_instance_token(Secret(text), HOME, 1)


@given(kinds, secrets32)
def test_what_is_assembled_is_ours_and_sound(kind: TokenKind, random32: bytes) -> None:
    text = assemble(kind, random32).reveal()
    assert looks_ours(text)
    assert checksum_ok(text)
    assert not is_junk(text)
    assert len(text) == 53
    assert display_prefix(text) == text[4:12]


@given(kinds, secrets32, st.integers(0, 52), st.characters())
def test_one_wrong_character_is_noticed(
    kind: TokenKind, random32: bytes, at: int, character: str
) -> None:
    text = assemble(kind, random32).reveal()
    wrong = text[:at] + character + text[at + 1 :]
    assert checksum_ok(wrong) is (wrong == text)


@given(st.one_of(st.text(), st.from_regex(r"aw[iat]_[A-Za-z0-9_-]*", fullmatch=True)))
def test_any_text_at_all_is_judged_without_an_error(text: str) -> None:
    if looks_ours(text) and not checksum_ok(text):
        assert is_junk(text)
    assert checksum_ok(text) <= looks_ours(text)
    assert len(token_sha256(text)) == 32


@pytest.mark.parametrize(
    "text", ["", "awi_", "awt_short", TICKET + "x", TICKET + "\n", "awi_" + TICKET[4:]]
)
def test_junk_is_refused_without_asking_the_store(text: str) -> None:
    assert is_junk(text)
    assert display_prefix(text) == ""


def test_a_payload_that_no_32_bytes_spell_is_junk_even_with_a_right_checksum() -> None:
    assert is_junk("awi_" + 42 * "A" + "B" + "4Pouds")


@pytest.mark.parametrize("text", ["ghp_0123456789", "my own token", "AWI_x", "é"])
def test_a_token_of_another_format_is_looked_up(text: str) -> None:
    assert not looks_ours(text)
    assert not checksum_ok(text)
    assert not is_junk(text)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_token_needs_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        assemble(TokenKind.API, bytes(length))


def test_a_secret_shows_the_same_text_however_it_is_printed() -> None:
    secret = Secret("hunter2")
    assert [repr(secret), str(secret), f"{secret}", f"{secret!r:>10}"] == [
        *(3 * ["<secret>"]),
        "  <secret>",
    ]
    assert "hunter2" not in repr({"held": [secret]})
    assert secret.reveal() == "hunter2"


def test_secrets_compare_by_content_and_never_with_plain_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_secret_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(Secret("hunter2"))


def token(**facts: Any) -> Token:
    usual: dict[str, Any] = {
        "token_id": TokenId("t"),
        "workspace_id": WorkspaceId(HOME),
        "kind": TokenKind.INSTANCE,
        "token_sha256": bytes(32),
        "create_time": NOW - timedelta(hours=1),
    }
    return Token(**(usual | facts))


SECOND = timedelta(seconds=1)
USED = {"first_use_time": NOW - SECOND}
REVOKED = {"revoke_time": NOW - SECOND, "revoke_reason": RevokeReason.OPERATOR}


@pytest.mark.parametrize(
    ("facts", "live"),
    [
        ({}, True),
        (USED, True),
        ({"expire_time": NOW + SECOND}, True),
        ({"expire_time": NOW}, False),
        ({"expire_time": NOW - SECOND}, False),
        (REVOKED, False),
    ],
)
def test_live_is_neither_revoked_nor_expired(facts: dict[str, Any], live: bool) -> None:
    assert token(**facts).is_live(NOW) is live


def test_a_revocation_counts_even_if_another_clock_dated_it_later() -> None:
    assert not token(revoke_time=NOW + SECOND).is_live(NOW)


@pytest.mark.parametrize(
    ("facts", "outstanding", "redeemed"),
    [
        ({"expire_time": NOW + SECOND}, True, False),
        ({"expire_time": NOW + SECOND} | USED, False, True),
        ({"expire_time": NOW} | USED, False, True),
        ({"expire_time": NOW}, False, False),
        ({"expire_time": NOW + SECOND} | REVOKED, False, False),
        ({"expire_time": NOW + SECOND} | USED | REVOKED, False, False),
    ],
)
def test_a_ticket_is_outstanding_redeemed_lapsed_or_void(
    facts: dict[str, Any], outstanding: bool, redeemed: bool
) -> None:
    ticket = token(kind=TokenKind.TICKET, **facts)
    assert (ticket.is_outstanding(NOW), ticket.is_redeemed()) == (outstanding, redeemed)
