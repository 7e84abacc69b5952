"""What protos/README.md prints for authors without our stubs is what the code computes."""

from __future__ import annotations

from pathlib import Path

from agentworkspace.core.secret import Secret
from agentworkspace.core.token_format import (
    derive_instance_token,
    derive_proxy_token,
    is_well_formed,
    sha256_hex,
)

README = Path(__file__).parents[2] / "protos" / "README.md"


def rows_of_tokens() -> list[list[str]]:
    """The cells of every table row that starts with a token."""
    lines = [line for line in README.read_text().splitlines() if line.startswith("| `aw")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def test_every_token_printed_is_well_formed() -> None:
    tokens = [cell for row in rows_of_tokens() for cell in row if cell.startswith("aw")]
    assert len(tokens) == 11
    assert all(is_well_formed(Secret(token)) for token in tokens)


def test_every_hash_printed_is_that_of_the_token_before_it() -> None:
    for row in rows_of_tokens():
        token, token_sha256 = row[-2:]
        assert sha256_hex(Secret(token)) == token_sha256


def test_every_derived_token_printed_is_the_one_of_its_launch() -> None:
    launches = [row for row in rows_of_tokens() if len(row) == 5]
    assert len(launches) == 4
    for ticket, workspace_id, incarnation, token, _ in launches:
        derive = derive_proxy_token if token.startswith("awp_") else derive_instance_token
        assert derive(Secret(ticket), workspace_id, int(incarnation)).reveal() == token
