"""`tokens`: what is asked of the registry, and what of the answer may be seen."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from agentworkspace.core.token_format import TokenKind, new_token
from agentworkspace.registry.v1 import token_pb2
from agentworkspace.registry.v1 import token_service_pb2 as messages
from tests.rpc.workspacectl_pair import TOKEN as TOKEN_ID
from tests.rpc.workspacectl_pair import WORKSPACE, Pair, at, running_pair

PLAINTEXT = new_token(TokenKind.API).reveal()
TOKEN = token_pb2.Token(
    token_id=TOKEN_ID,
    workspace_id=WORKSPACE,
    kind=token_pb2.TOKEN_KIND_API,
    prefix="Zm9vYmFy",
    label="gateway",
    scopes=["chat", "files"],
    create_time=at("2026-01-02T03:04:05.678Z"),
)
ISSUED = token_pb2.Issued(
    token=TOKEN, plaintext=PLAINTEXT, delivery=token_pb2.SECRET_DELIVERY_ENCLOSED
)
SPENT = token_pb2.Issued(token=TOKEN, delivery=token_pb2.SECRET_DELIVERY_ALREADY_DELIVERED)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running_pair() as found:
        yield found


def test_mint_asks_for_what_was_said(pair: Pair) -> None:
    pair.registry.on("MintToken", messages.MintTokenResponse(issued=ISSUED))

    pair.run(
        *("tokens", "mint", WORKSPACE, "--label", "gateway", "--scope", "chat"),
        *("--scope", "files", "--ttl", "30d", "--request-id", "r-1"),
    )

    assert pair.registry.only(messages.MintTokenRequest) == messages.MintTokenRequest(
        workspace_id=WORKSPACE,
        kind=token_pb2.TOKEN_KIND_API,
        label="gateway",
        scopes=["chat", "files"],
        ttl=Duration(seconds=30 * 86400),
        request_id="r-1",
    )


def test_mint_shows_the_token_once(pair: Pair) -> None:
    pair.registry.on("MintToken", messages.MintTokenResponse(issued=ISSUED))

    result = pair.run("tokens", "mint", WORKSPACE)

    assert result.code == 0
    assert result.out.count(PLAINTEXT) == 1
    assert result.lines[-1] == f"token {PLAINTEXT}"
    assert "created" not in result.out
    assert "create time 2026-01-02 03:04:05Z" in result.lines
    assert (
        result.err == "note: this is the only time that the token is shown; only its hash is kept\n"
    )


def test_mint_as_json_carries_the_token_in_its_own_field(pair: Pair) -> None:
    pair.registry.on("MintToken", messages.MintTokenResponse(issued=ISSUED))

    result = pair.run("tokens", "mint", WORKSPACE, "--json")

    assert result.document["issued"]["plaintext"] == PLAINTEXT
    assert result.document["issued"]["token"]["tokenId"] == TOKEN_ID
    assert result.document["issued"]["delivery"] == "SECRET_DELIVERY_ENCLOSED"


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_mint_into_a_file_shows_the_token_nowhere(
    pair: Pair, tmp_path: Path, form: tuple[str, ...]
) -> None:
    pair.registry.on("MintToken", messages.MintTokenResponse(issued=ISSUED))
    out = tmp_path / "api.token"

    result = pair.run("tokens", "mint", WORKSPACE, "--out", str(out), *form)

    assert result.code == 0
    assert out.read_text() == PLAINTEXT + "\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert PLAINTEXT not in result.out + result.err
    assert [path.name for path in tmp_path.iterdir()] == ["api.token"]


def test_a_file_that_cannot_be_written_is_noticed_before_anything_is_minted(
    pair: Pair, tmp_path: Path
) -> None:
    result = pair.run("tokens", "mint", WORKSPACE, "--out", str(tmp_path / "none" / "api.token"))

    assert result.code == 2
    assert "cannot write" in result.err
    assert pair.registry.asked == []


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_only_a_plain_file_is_replaced(pair: Pair, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "directory":
        out.mkdir()
    else:
        out.symlink_to("/dev/null")

    result = pair.run("tokens", "mint", WORKSPACE, "--out", str(out))

    assert (result.code, result.err) == (2, f"workspacectl: {out} is not a plain file\n")


def test_a_token_that_is_not_in_the_answer_leaves_the_old_file_and_says_no(
    pair: Pair, tmp_path: Path
) -> None:
    pair.registry.on("MintToken", messages.MintTokenResponse(issued=SPENT))
    out = tmp_path / "api.token"
    out.write_text("before\n")

    result = pair.run("tokens", "mint", WORKSPACE, "--out", str(out))

    assert result.code == 1
    assert out.read_text() == "before\n"
    assert result.err == "note: no token in this answer: ALREADY_DELIVERED\n"


def test_every_mint_makes_a_request_id_of_its_own(pair: Pair) -> None:
    pair.registry.on("MintToken", messages.MintTokenResponse(issued=ISSUED))

    pair.run("tokens", "mint", WORKSPACE)
    pair.run("tokens", "mint", WORKSPACE)

    first, second = (asked.request.request_id for asked in pair.registry.asked)
    assert len(first) == len(second) == 36
    assert first != second


def test_rotate_replaces_a_token_after_the_overlap(pair: Pair, tmp_path: Path) -> None:
    pair.registry.on("RotateToken", messages.RotateTokenResponse(issued=ISSUED))
    out = tmp_path / "api.token"
    out.write_text("before\n")

    result = pair.run(
        *("tokens", "rotate", WORKSPACE, TOKEN_ID, "--overlap", "15m"),
        *("--out", str(out), "--request-id", "r-2"),
    )

    assert result.code == 0
    assert out.read_text() == PLAINTEXT + "\n"
    assert pair.registry.only(messages.RotateTokenRequest) == messages.RotateTokenRequest(
        workspace_id=WORKSPACE, token_id=TOKEN_ID, overlap=Duration(seconds=900), request_id="r-2"
    )


def test_list_is_an_aligned_table(pair: Pair) -> None:
    revoked = token_pb2.Token(
        token_id="a-longer-id",
        kind=token_pb2.TOKEN_KIND_INSTANCE,
        incarnation=12,
        revoke_time=at("2026-01-02T03:04:05Z"),
        revoke_reason=token_pb2.REVOKE_REASON_RELAUNCHED,
    )
    pair.registry.on("ListTokens", messages.ListTokensResponse(tokens=[TOKEN, revoked]))

    result = pair.run("tokens", "list", WORKSPACE, "--include-revoked")

    heading, first, second = result.out.splitlines()
    assert heading.index("KIND") == first.index("API") == second.index("INSTANCE")
    assert heading.index("LABEL") == first.index("gateway")
    assert second.split() == ["a-longer-id", "INSTANCE", "-", "12", "-", "-", "RELAUNCHED"]
    assert pair.registry.only(messages.ListTokensRequest).include_revoked


def test_revoke_gives_the_reason_and_shows_the_receipt(pair: Pair) -> None:
    pair.registry.on("RevokeToken", messages.RevokeTokenResponse(revision=41))

    result = pair.run(
        *(
            "tokens",
            "revoke",
            WORKSPACE,
            TOKEN_ID,
            "--reason",
            "compromised",
            "--note",
            "in a paste",
            "--yes",
        )
    )

    assert result.lines == ["revision 41", "already revoked no"]
    assert pair.registry.only(messages.RevokeTokenRequest) == messages.RevokeTokenRequest(
        workspace_id=WORKSPACE,
        token_id=TOKEN_ID,
        reason=token_pb2.REVOKE_REASON_COMPROMISED,
        note="in a paste",
    )


def test_a_leaked_token_is_revoked_by_its_own_text_from_standard_input(pair: Pair) -> None:
    response = messages.RevokeTokenResponse(workspace_id=WORKSPACE, token_id=TOKEN_ID, revision=41)
    pair.registry.on("RevokeToken", response)

    result = pair.run(
        "tokens", "revoke", "-", "--reason", "compromised", "--yes", stdin=b"awi_leaked\n"
    )

    assert f"workspace id {WORKSPACE}" in result.lines
    assert "awi_leaked" not in result.out + result.err
    assert pair.registry.only(messages.RevokeTokenRequest) == messages.RevokeTokenRequest(
        token="awi_leaked", reason=token_pb2.REVOKE_REASON_COMPROMISED
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("-", TOKEN_ID), "leave its id out"),
        ((WORKSPACE,), "which token"),
        ((WORKSPACE, TOKEN_ID), "--reason"),
    ],
)
def test_a_revocation_says_which_token_and_why(
    pair: Pair, given: tuple[str, ...], said: str
) -> None:
    reason = () if said == "--reason" else ("--reason", "operator")

    result = pair.run("tokens", "revoke", *given, *reason, "--yes", stdin=b"awi_leaked\n")

    assert result.code == 2
    assert said in result.err
    assert pair.registry.asked == []


def test_revoke_all_takes_several_kinds(pair: Pair) -> None:
    response = messages.RevokeWorkspaceTokensResponse(revoked_count=3, revision=42)
    pair.registry.on("RevokeWorkspaceTokens", response)

    result = pair.run(
        *("tokens", "revoke-all", WORKSPACE, "--kind", "instance", "--kind", "API"),
        *("--reason", "operator", "--yes"),
    )

    assert result.lines == ["revoked count 3", "revision 42"]
    assert list(pair.registry.only(messages.RevokeWorkspaceTokensRequest).kinds) == [
        token_pb2.TOKEN_KIND_INSTANCE,
        token_pb2.TOKEN_KIND_API,
    ]


def test_validate_reads_the_token_from_standard_input(pair: Pair) -> None:
    principal = token_pb2.Principal(
        workspace_id=WORKSPACE, tenant_id="acme", kind=token_pb2.TOKEN_KIND_API
    )
    pair.registry.on(
        "ValidateToken", messages.ValidateTokenResponse(principal=principal, revision=7)
    )

    result = pair.run(
        *("tokens", "validate", "--workspace", WORKSPACE, "--kind", "api", "--scope", "chat"),
        stdin=PLAINTEXT.encode() + b"\n",
    )

    assert result.code == 0
    assert result.lines[0] == "live"
    assert "principal tenant id acme" in result.lines
    assert PLAINTEXT not in result.out + result.err
    assert pair.registry.only(messages.ValidateTokenRequest) == messages.ValidateTokenRequest(
        token=PLAINTEXT,
        workspace_id=WORKSPACE,
        required_kind=token_pb2.TOKEN_KIND_API,
        required_scopes=["chat"],
    )


def test_a_token_that_is_not_accepted_is_exit_code_1(pair: Pair, tmp_path: Path) -> None:
    rejection = messages.Rejection(reason=messages.REJECTION_REASON_TOKEN_INVALID)
    pair.registry.on("ValidateToken", messages.ValidateTokenResponse(rejection=rejection))
    presented = tmp_path / "presented"
    presented.write_text("junk")

    result = pair.run("tokens", "validate", "--any-workspace", "--value-file", str(presented))

    assert result.code == 1
    assert result.lines[:2] == ["not accepted", "rejection reason TOKEN_INVALID"]
    assert pair.registry.only(messages.ValidateTokenRequest).any_workspace


def test_nothing_on_standard_input_is_exit_code_2(pair: Pair) -> None:
    result = pair.run("tokens", "validate", "--any-workspace", stdin=b"\n")

    assert (result.code, result.err) == (
        2,
        "workspacectl: standard input is empty: expected the token\n",
    )


@pytest.mark.parametrize("word", [PLAINTEXT, f"--label={PLAINTEXT}"], ids=["alone", "label"])
def test_a_token_on_the_command_line_is_refused_and_not_repeated(pair: Pair, word: str) -> None:
    result = pair.run("tokens", "mint", WORKSPACE, word)

    assert result.code == 2
    assert PLAINTEXT not in result.err
    assert "revoke it" in result.err
    assert pair.registry.asked == []
